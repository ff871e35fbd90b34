"""Shows a plan: to people as tables and a summary, to programs as one object."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from cluster.planning.placement import NodeLoad, WorkerRequest
from cluster.planning.plan import Plan, request_words, used_ram
from cluster.planning.plan_advice import Advice
from cluster.planning.worker_memory import gib, width_of

LIGHT = (
    ("run loop", "the driver: no CPU of its own; a job submitted with --entrypoint-num-cpus 1 takes one"),
    ("weight store, control, learner's desk", "0 CPU each, on the driver's node"),
    ("Ray Train's controller", "0 CPU"),
)
"""What a run starts besides its workers, and what it takes."""


def print_plan(plan: Plan, advice: Advice | None) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    shape, rollout = plan.shape, plan.recipe.rollout
    dtype = plan.recipe.learner.dtype
    trained = f", {shape.trained:,} are trained" if shape.trained < shape.parameters else ""
    size = gib(shape.parameters * width_of(dtype))
    console.print(f"{plan.recipe.name}: {shape.parameters:,} parameters, {size} in {dtype}{trained}", markup=False)
    console.print(_workers_table(plan))
    for name, resources in LIGHT:
        console.print(f"  {name}: {resources}", markup=False)
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
        for other in advice.alternatives:
            line = f"  alone, {_set(other.settings)}: {gib(other.need)} for a {other.kind} worker"
            if other.fits:
                line += ", and everything fits"
            console.print(line, markup=False, soft_wrap=True)
    console.print(summary(plan, advice), markup=False, soft_wrap=True)


def summary(plan: Plan, advice: Advice | None) -> str:
    """Whether the recipe fits, and with which settings it would, in one line."""
    if plan.fits:
        return f"{plan.recipe.name} fits into {plan.source}"
    if advice and advice.settings is not None:
        return f"{plan.recipe.name} does not fit into {plan.source}; it would with {_set(advice.settings)}"
    needs = advice.needs if advice else {}
    smallest = "; ".join(f"a {kind} worker needs at least {gib(size)}" for kind, size in needs.items())
    return (
        f"{plan.recipe.name} does not fit into {plan.source}, and no settings were found with which it does: use more "
        f"or larger nodes, or a smaller model{f' ({smallest})' if smallest else ''}"
    )


def to_dict(plan: Plan, advice: Advice | None) -> dict[str, Any]:
    """The plan as a tree for JSON. Sizes are in bytes; null stands for unknown."""
    width = width_of(plan.recipe.rollout.dtype)
    return {
        "recipe": plan.recipe.name,
        "fits": plan.fits,
        "summary": summary(plan, advice),
        "model": plan.shape.to_dict() | {"kv_bytes_per_token": plan.shape.kv_bytes_per_token(width)},
        "cluster": {"source": plan.source, "nodes": [node.to_dict() for node in plan.nodes]},
        "workers": [_worker_dict(plan, request) for request in plan.requests],
        "kv_cache_sequences": plan.sequences,
        "placement": [
            {"node": load.node.name, "workers": dict(load.holds), "ram": used_ram(load, plan.memory)}
            for load in plan.placement.loads
        ],
        "without_node": dict(plan.placement.unplaced),
        "notes": list(plan.notes),
        "faults": [fault.text for fault in plan.faults],
        "advice": None if advice is None else _advice_dict(advice),
    }


def _worker_dict(plan: Plan, request: WorkerRequest) -> dict[str, Any]:
    memory = plan.memory[request.kind]
    return {
        "kind": request.kind,
        "workers": request.workers,
        "cpus": request.cpus,
        "gpus": request.gpus,
        "learner": request.learner,
        "memory": {
            "of": memory.where,
            "when": memory.when,
            "parts": dict(memory.parts),
            "total": memory.total,
            "limit": plan.limits[request.kind],
        },
        "ram": memory.ram,
    }


def _advice_dict(advice: Advice) -> dict[str, Any]:
    return {
        "settings": advice.settings,
        "least": dict(advice.needs),
        "alone": [
            {"kind": other.kind, "settings": other.settings, "need": other.need, "fits": other.fits}
            for other in advice.alternatives
        ],
    }


def _workers_table(plan: Plan) -> Any:
    from rich.table import Table

    table = Table("worker", "how many", "each asks for", "needs", "of which", "may fill")
    for request in plan.requests:
        memory, limit = plan.memory[request.kind], plan.limits[request.kind]
        parts = ", ".join(f"{name} {gib(size)}" for name, size in memory.parts.items() if size)
        if memory.where == "GPU":
            of = "of each GPU" if request.gpus > 1 else "of its GPU"
            limit_words = "not known" if limit is None else gib(limit)
            parts += f"; beside it {gib(memory.ram)} of RAM"
        else:
            of, limit_words = "of RAM", ""
        need = f"{gib(memory.total)} {of}, {memory.when}"
        table.add_row(request.kind, str(request.workers), request_words(request), need, parts, limit_words)
    return table


def _nodes_table(plan: Plan) -> Any:
    """The nodes; those that offer and hold the same are in one row."""
    from rich.table import Table

    table = Table(
        "node",
        "offers",
        "holds",
        "RAM of its workers",
        title=f"{plan.source}, one way that Ray could place them",
        title_justify="left",
    )

    def row(load: NodeLoad) -> tuple[str, str, str]:
        node = load.node
        offers = [f"{node.cpus:g} CPU" if node.cpus < math.inf else "CPUs not stated"]
        if node.gpus:
            offers.append(f"{node.gpus} GPU" + (f" of {gib(node.gpu_bytes)}" if node.gpu_bytes else ""))
        if node.learner:
            offers.append(f"{node.learner:g} learner")
        ram = gib(used_ram(load, plan.memory)) + (f" of {gib(node.ram)}" if node.ram else "")
        holds = ", ".join(f"{count} {kind}" for kind, count in load.holds.items()) or "nothing"
        return ", ".join(offers), holds, ram

    for cells, same in groupby(plan.placement.loads, row):
        loads = list(same)
        last = f" to {loads[-1].node.name.removeprefix('node ')}" if len(loads) > 1 else ""
        table.add_row(loads[0].node.name + last, *cells)
    return table


def _set(settings: Mapping[str, Any]) -> str:
    return " ".join(f"--set {key}={json.dumps(value)}" for key, value in settings.items()) or "nothing changed"
