"""What a run will ask of a cluster, and whether that can hold it: a recipe, a model's shape and nodes in, a plan out.

Nothing is started, and nothing here is measured: `worker_memory` says what the estimates rest on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.config.recipe import Recipe
from cluster.errors import UserError
from cluster.planning.footprint import services_ram
from cluster.planning.model_shape import ModelShape
from cluster.planning.nodes import Node
from cluster.planning.placement import Ask, Placement, Seat, asks_of, place
from cluster.planning.worker_memory import (
    GIB,
    Memory,
    gib,
    learner_memory,
    reward_memory,
    rollout_memory,
    sequence_bytes,
    shards_of,
)

SLOW_FOR_ADAPTERS = 5e-6  # what is below is a rate of reinforcement learning on all weights


@dataclass(frozen=True)
class Shortfall:
    """What does not fit. `excess` is by how much, in bytes, or in workers where `about` is "nodes"."""

    kind: str
    about: str
    text: str
    excess: float


@dataclass(frozen=True)
class Plan:
    """
    Attributes:
        source: where the nodes are, in words.
        asks: what Ray is asked for, by kind of worker.
        memory: of one worker, by kind.
        limits: bytes of a GPU, or of RAM for the engine's KV cache, that a worker of the kind may fill; None: not known.
        sequences: of `max_model_tokens` that one engine's KV cache holds; None: not known.
        placement: one that Ray could choose.
    """

    recipe: Recipe
    shape: ModelShape
    source: str
    nodes: Sequence[Node]
    asks: Sequence[Ask]
    memory: Mapping[str, Memory]
    limits: Mapping[str, float | None]
    sequences: int | None
    placement: Placement
    faults: Sequence[Shortfall]
    notes: Sequence[str]

    @property
    def fits(self) -> bool:
        return not self.faults


def make_plan(recipe: Recipe, shape: ModelShape, source: str, nodes: Sequence[Node]) -> Plan:
    """Raises UserError where a number of GPUs can be given by no Ray, or shared by no engine."""
    _check_gpus(recipe, shape)
    asks = asks_of(recipe.roles, any(node.learner for node in nodes))
    limits = {ask.kind: _limit(recipe, ask, nodes) for ask in asks}
    size = _gpu_size(asks[0], nodes)
    memory = {
        "rollout": rollout_memory(recipe, shape, size),
        "learner": learner_memory(recipe, shape),
        "reward": reward_memory(),
    }
    placement = place(asks, nodes)
    services = services_ram(recipe, shape.parameters)
    faults = [
        *_crowded(asks, placement),
        *_rollout_faults(recipe, shape, memory["rollout"], limits["rollout"]),
        *_learner_faults(memory["learner"], limits["learner"]),
        *_full_nodes(placement, memory, services),
    ]
    unknown = [ask.kind for ask in asks if ask.gpus and limits[ask.kind] is None and ask.kind not in placement.left]
    notes = (
        [
            f"the GPUs' memory is not known, so that of {' and '.join(unknown)} workers is not judged; --cluster can say it"
        ]
        if unknown
        else []
    )
    if recipe.rollout.max and recipe.rollout.max > recipe.rollout.workers:
        notes.append(f"rollout workers may grow to {recipe.rollout.max}; this is for {recipe.rollout.workers}")
    notes += _slow_adapters(recipe)
    if recipe.learner.fewest < recipe.learner.workers:
        notes.append(f"learner workers may be up to {recipe.learner.workers}; this is for {recipe.learner.fewest}")
    cache = memory["rollout"].parts["KV cache"]
    known = not recipe.rollout.gpus or size is not None
    sequences = int(cache // sequence_bytes(recipe, shape)) if known else None
    return Plan(recipe, shape, source, nodes, asks, memory, limits, sequences, placement, faults, notes)


def _slow_adapters(recipe: Recipe) -> list[str]:
    slow = [stage for stage in recipe.stages if recipe.learner.lora and stage.training.lr < SLOW_FOR_ADAPTERS]
    return [
        f"stages.{stage.name}.training.lr: {stage.training.lr:g} is a rate for whole weights; adapters (learner.lora) commonly "
        "need about ten times as much"
        for stage in slow
    ]


def wants(ask: Ask) -> str:
    """What one worker asks for, in words."""
    parts = [f"{ask.cpus:g} CPU", *([f"{ask.gpus:g} GPU"] if ask.gpus else []), *(["1 learner"] if ask.learner else [])]
    return ", ".join(parts)


def _check_gpus(recipe: Recipe, shape: ModelShape) -> None:
    for name in ("rollout", "learner"):
        gpus = getattr(recipe, name).gpus
        if gpus > 1 and gpus != int(gpus):
            raise UserError(f"{name}.gpus: {gpus:g}: Ray gives a worker whole GPUs, or a part of one")
    if recipe.learner.gpus > 1:
        raise UserError(
            f"learner.gpus: {recipe.learner.gpus:g}: a rank works on one GPU; for more GPUs raise learner.workers"
        )
    if shape.text.heads % shards_of(recipe):
        raise UserError(
            f"rollout.gpus: {recipe.rollout.gpus:g}: the model's {shape.text.heads} heads cannot be shared out "
            "evenly among so many GPUs"
        )
    if recipe.rollout.max_response_tokens >= recipe.rollout.max_model_tokens:
        raise UserError(
            f"rollout.max_model_tokens: {recipe.rollout.max_model_tokens} leaves nothing to a prompt beside "
            f"rollout.max_response_tokens: {recipe.rollout.max_response_tokens}"
        )


def _gpu_size(ask: Ask, nodes: Sequence[Node]) -> float | None:
    """Bytes of the smallest GPU that Ray may give a worker (it does not look at their size); None where not known."""
    sizes = [node.gpu_bytes for node in nodes if node.gpus >= ask.gpus and node.learner >= ask.learner and node.gpus]
    return None if not ask.gpus or not sizes or None in sizes else min(sizes)


def _limit(recipe: Recipe, ask: Ask, nodes: Sequence[Node]) -> float | None:
    if ask.kind == "rollout" and not ask.gpus:
        return float(recipe.rollout.kv_cache_gib * GIB)
    size = _gpu_size(ask, nodes)
    if size is None:
        return None
    return size * (recipe.rollout.gpu_share if ask.kind == "rollout" else min(1.0, ask.gpus))


def _crowded(asks: Sequence[Ask], placement: Placement) -> list[Shortfall]:
    return [
        Shortfall(
            ask.kind, "nodes", f"{left} of {ask.workers} {ask.kind} workers find no node with {wants(ask)} free", left
        )
        for ask in asks
        if (left := placement.left.get(ask.kind))
    ]


def _rollout_faults(recipe: Recipe, shape: ModelShape, memory: Memory, limit: float | None) -> list[Shortfall]:
    if limit is None:
        return []
    one = sequence_bytes(recipe, shape)
    fixed = memory.total - memory.parts["KV cache"] if memory.where == "GPU" else 0
    if fixed + one <= limit:
        return []
    if memory.where == "RAM":
        tokens = recipe.rollout.max_model_tokens
        text = f"a sequence of {tokens:,} tokens takes {gib(one)} of KV cache, an engine has {gib(limit)}"
    else:
        text = (
            f"an engine needs {gib(fixed)} of each GPU, and {gib(one)} for the KV cache of one sequence; it may take "
            f"{gib(limit)}"
        )
    return [Shortfall("rollout", "memory", text, fixed + one - limit)]


def _learner_faults(memory: Memory, limit: float | None) -> list[Shortfall]:
    if limit is None or memory.total <= limit:
        return []
    text = f"a rank needs {gib(memory.total)} of GPU memory ({memory.when}), it has {gib(limit)}"
    return [Shortfall("learner", "memory", text, memory.total - limit)]


def seat_ram(seat: Seat, memory: Mapping[str, Memory]) -> float:
    """Bytes of RAM that the workers on a node take."""
    return sum(count * memory[kind].ram for kind, count in seat.holds.items())


def _full_nodes(placement: Placement, memory: Mapping[str, Memory], services: float) -> list[Shortfall]:
    """Ray and the run are reckoned to the node that has most room left."""
    known = [(seat.node.ram - seat_ram(seat, memory), seat) for seat in placement.seats if seat.node.ram]
    if not known:
        return []
    roomiest = max(known, key=lambda pair: pair[0])[1]
    faults = []
    for room, seat in known:
        room -= services if seat is roomiest else 0
        if room < 0:
            kinds = {kind: count * memory[kind].ram for kind, count in seat.holds.items()}
            parts = {
                **{f"{seat.holds[kind]} {kind}": size for kind, size in kinds.items()},
                **({"Ray and the run": services} if seat is roomiest else {}),
            }
            text = (
                f"{seat.node.name}: has {gib(seat.node.ram)} of RAM and would need {gib(seat.node.ram - room)} "
                f"({', '.join(f'{name} {gib(size)}' for name, size in parts.items())})"
            )
            faults.append(
                Shortfall(max(kinds, key=lambda kind: kinds[kind]) if kinds else "rollout", "RAM", text, -room)
            )
    return faults
