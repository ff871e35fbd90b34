"""A plan for people, as tables and a last line, and for programs, as one object."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from cluster.planning.plan import Plan, seat_ram, wants
from cluster.planning.plan_advice import Advice
from cluster.planning.worker_memory import gib, width_of

LIGHT = (
    ("run loop", "the driver: no CPU of its own; a job submitted with --entrypoint-num-cpus 1 takes one"),
    ("weight store, control, learner's desk", "0 CPU each, on the driver's node"),
    ("Ray Train's controller", "0 CPU"),
)
"""What a run starts besides its workers."""


def print_plan(plan: Plan, advice: Advice | None) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    shape, rollout = plan.shape, plan.recipe.rollout
    dtype = plan.recipe.learner.dtype
    console.print(
        f"{plan.recipe.name}: {shape.parameters:,} parameters, {gib(shape.parameters * width_of(dtype))} in {dtype}"
        f"{f', {shape.trained:,} are trained' if shape.trained < shape.parameters else ''}",
        markup=False,
    )
    console.print(_workers_table(plan))
    for name, what in LIGHT:
        console.print(f"  {name}: {what}", markup=False)
    cache = f"{shape.kv_bytes_per_token(width_of(rollout.dtype)):,} bytes a token"
    holds = "an unknown number of" if plan.sequences is None else f"{plan.sequences:,}"
    console.print(
        f"  an engine's KV cache ({cache}) holds {holds} sequences of {rollout.max_model_tokens:,} tokens; "
        f"it writes at most {rollout.max_sequences:,} at once",
        markup=False,
    )
    console.print(_nodes_table(plan))
    for line in (*plan.notes, *(fault.text for fault in plan.faults)):
        console.print(f"- {line}", markup=False)
    if advice:
        for found in advice.alternatives:
            console.print(
                f"  alone, {_set(found.settings)}: {gib(found.need)} for a {found.kind} worker"
                f"{', and all fits' if found.fits else ''}",
                markup=False,
                soft_wrap=True,
            )
    console.print(summary(plan, advice), markup=False, soft_wrap=True)


def summary(plan: Plan, advice: Advice | None) -> str:
    if plan.fits:
        return f"{plan.recipe.name} fits into {plan.source}"
    if advice and advice.settings is not None:
        return f"{plan.recipe.name} does not fit into {plan.source}; it would with {_set(advice.settings)}"
    needs = advice.needs if advice else {}
    least = "; ".join(f"a {kind} worker needs {gib(size)} at the least found" for kind, size in needs.items())
    return (
        f"{plan.recipe.name} does not fit into {plan.source}, and no settings were found with which it does: more or larger "
        f"nodes, or a smaller model{f' ({least})' if least else ''}"
    )


def to_dict(plan: Plan, advice: Advice | None) -> dict[str, Any]:
    """Bytes everywhere; null where something is not known."""
    width = width_of(plan.recipe.rollout.dtype)
    return {
        "recipe": plan.recipe.name,
        "fits": plan.fits,
        "summary": summary(plan, advice),
        "model": plan.shape.to_dict() | {"kv_bytes_per_token": plan.shape.kv_bytes_per_token(width)},
        "cluster": {"source": plan.source, "nodes": [node.to_dict() for node in plan.nodes]},
        "workers": [
            {
                "kind": ask.kind,
                "workers": ask.workers,
                "cpus": ask.cpus,
                "gpus": ask.gpus,
                "learner": ask.learner,
                "memory": {
                    "of": memory.where,
                    "when": memory.when,
                    "parts": dict(memory.parts),
                    "total": memory.total,
                    "limit": plan.limits[ask.kind],
                },
                "ram": memory.ram,
            }
            for ask in plan.asks
            for memory in [plan.memory[ask.kind]]
        ],
        "kv_cache_sequences": plan.sequences,
        "placement": [
            {"node": seat.node.name, "workers": dict(seat.holds), "ram": seat_ram(seat, plan.memory)}
            for seat in plan.placement.seats
        ],
        "without_node": dict(plan.placement.left),
        "notes": list(plan.notes),
        "faults": [fault.text for fault in plan.faults],
        "advice": None
        if advice is None
        else {
            "settings": advice.settings,
            "least": dict(advice.needs),
            "alone": [
                {"kind": a.kind, "settings": a.settings, "need": a.need, "fits": a.fits} for a in advice.alternatives
            ],
        },
    }


def _workers_table(plan: Plan) -> Any:
    from rich.table import Table

    table = Table("worker", "how many", "each asks for", "needs", "of which", "may fill")
    for ask in plan.asks:
        memory, limit = plan.memory[ask.kind], plan.limits[ask.kind]
        parts = ", ".join(f"{name} {gib(size)}" for name, size in memory.parts.items() if size)
        if memory.where == "GPU":
            place = "of each GPU" if ask.gpus > 1 else "of its GPU"
            may = "not known" if limit is None else gib(limit)
            parts += f"; beside it {gib(memory.ram)} of RAM"
        else:
            place, may = "of RAM", ""
        table.add_row(ask.kind, str(ask.workers), wants(ask), f"{gib(memory.total)} {place}, {memory.when}", parts, may)
    return table


def _nodes_table(plan: Plan) -> Any:
    """Nodes that offer and hold the same share a row."""
    from rich.table import Table

    table = Table(
        "node",
        "offers",
        "holds",
        "RAM of its workers",
        title=f"{plan.source}, one way that Ray could place them",
        title_justify="left",
    )

    def row(seat: Any) -> tuple[str, str, str]:
        node = seat.node
        offers = [f"{node.cpus:g} CPU" if node.cpus < math.inf else "CPUs not said"]
        if node.gpus:
            offers.append(f"{node.gpus} GPU" + (f" of {gib(node.gpu_bytes)}" if node.gpu_bytes else ""))
        if node.learner:
            offers.append(f"{node.learner:g} learner")
        ram = gib(seat_ram(seat, plan.memory)) + (f" of {gib(node.ram)}" if node.ram else "")
        return ", ".join(offers), ", ".join(f"{count} {kind}" for kind, count in seat.holds.items()) or "nothing", ram

    for cells, same in groupby(plan.placement.seats, row):
        seats = list(same)
        last = f" to {seats[-1].node.name.removeprefix('node ')}" if len(seats) > 1 else ""
        table.add_row(seats[0].node.name + last, *cells)
    return table


def _set(settings: Mapping[str, Any]) -> str:
    return " ".join(f"--set {key}={json.dumps(value)}" for key, value in settings.items()) or "nothing changed"
