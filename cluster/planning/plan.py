"""What a run needs from a cluster, and whether it fits: a recipe, a model's shape and nodes in, a plan out.

Starts nothing and measures nothing. `worker_memory` explains the estimates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.config.recipe import Recipe
from cluster.errors import UserError
from cluster.planning.adapter_way import remarks_on_adapters
from cluster.planning.footprint import services_ram, version_parameters
from cluster.planning.model_shape import ModelShape
from cluster.planning.nodes import Node
from cluster.planning.placement import NodeLoad, Placement, WorkerRequest, place, worker_requests
from cluster.planning.worker_memory import (
    GIB,
    GPU_LIBRARIES,
    Memory,
    gib,
    learner_memory,
    resting_memory,
    reward_memory,
    rollout_memory,
    sequence_bytes,
    shards_of,
)

SLOW_FOR_ADAPTERS = 5e-6  # lower learning rates are common for reinforcement learning on all weights


@dataclass(frozen=True)
class Shortfall:
    """Something that does not fit.

    Attributes:
        kind: the kind of worker.
        about: "nodes", "RAM", "memory" (that the worker computes in) or "turns" (a GPU's memory while the worker rests
            and another works).
        excess: by how much it does not fit, in bytes; in workers if `about` is "nodes".
    """

    kind: str
    about: str
    text: str
    excess: float


@dataclass(frozen=True)
class Plan:
    """A recipe on nodes.

    Attributes:
        source: what the nodes are, in words.
        requests: the resources that Ray gives to workers, by kind.
        memory: of one worker, by kind.
        limits: bytes that a worker of a kind may fill: of a GPU, or of RAM for the engine's KV cache; None if unknown.
        sequences: how many sequences of `max_model_tokens` one engine's KV cache holds; None if unknown.
        placement: one that Ray could choose.
        faults: what does not fit; empty if all does.
        notes: what a reader should know besides.
    """

    recipe: Recipe
    shape: ModelShape
    source: str
    nodes: Sequence[Node]
    requests: Sequence[WorkerRequest]
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
    """Plans a run. Raises UserError: Ray cannot give such a number of GPUs, or an engine cannot share it."""
    _check_gpus(recipe, shape)
    requests = worker_requests(recipe.roles, any(node.learner for node in nodes))
    limits = {request.kind: _limit(recipe, request, nodes) for request in requests}
    size = _gpu_size(requests[0], nodes)
    memory = {
        "rollout": rollout_memory(recipe, shape, size),
        "learner": learner_memory(recipe, shape),
        "reward": reward_memory(),
    }
    of_rules = [request.kind for request in requests if request.kind not in memory]
    memory |= {kind: reward_memory() for kind in of_rules}
    placement = place(requests, nodes)
    services = services_ram(recipe, version_parameters(recipe, shape.parameters, shape.trained))
    faults = [
        *_crowded(requests, placement),
        *_rollout_faults(recipe, shape, memory["rollout"], limits["rollout"]),
        *_learner_faults(memory["learner"], limits["learner"]),
        *_turn_faults(recipe, shape, size),
        *_full_nodes(placement, memory, services),
    ]
    notes = []
    placed_on_gpus = [request.kind for request in requests if request.gpus and request.kind not in placement.unplaced]
    unknown = [kind for kind in placed_on_gpus if limits[kind] is None]
    if unknown:
        workers = " and ".join(unknown)
        notes.append(f"the GPUs' memory is unknown, so that of {workers} workers is not judged; --cluster can state it")
    if recipe.rollout.max and recipe.rollout.max > recipe.rollout.workers:
        notes.append(f"rollout workers may grow to {recipe.rollout.max}; this is for {recipe.rollout.workers}")
    notes += [*_slow_adapters(recipe), *remarks_on_adapters(recipe)]
    notes += [f"{kind}: the memory that its model takes is not known, and not counted" for kind in of_rules]
    if recipe.learner.fewest < recipe.learner.workers:
        notes.append(f"learner workers may be up to {recipe.learner.workers}; this is for {recipe.learner.fewest}")
    cache = memory["rollout"].parts["KV cache"]
    known = not recipe.rollout.gpus or size is not None
    sequences = int(cache // sequence_bytes(recipe, shape)) if known else None
    return Plan(recipe, shape, source, nodes, requests, memory, limits, sequences, placement, faults, notes)


def _slow_adapters(recipe: Recipe) -> list[str]:
    if not recipe.learner.lora:
        return []
    return [
        f"stages.{stage.name}.training.lr: {stage.training.lr:g} is a rate for whole weights; adapters (learner.lora) "
        "commonly need about ten times as much"
        for stage in recipe.stages
        if stage.training.lr < SLOW_FOR_ADAPTERS
    ]


def request_words(request: WorkerRequest) -> str:
    """The resources of one worker in words."""
    parts = [f"{request.cpus:g} CPU"]
    if request.gpus:
        parts.append(f"{request.gpus:g} GPU")
    if request.learner:
        parts.append("1 learner")
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
            f"rollout.gpus: {recipe.rollout.gpus:g}: the model's {shape.text.heads} heads cannot be divided "
            "evenly among so many GPUs"
        )
    if recipe.rollout.max_response_tokens >= recipe.rollout.max_model_tokens:
        raise UserError(
            f"rollout.max_model_tokens: {recipe.rollout.max_model_tokens} leaves no tokens for a prompt beside "
            f"rollout.max_response_tokens: {recipe.rollout.max_response_tokens}"
        )


def _gpu_size(request: WorkerRequest, nodes: Sequence[Node]) -> float | None:
    """Bytes of the smallest GPU that Ray may give a worker, since Ray does not look at their size; None if unknown."""
    if not request.gpus:
        return None
    eligible = [n for n in nodes if n.gpus and n.gpus >= request.gpus and n.learner >= request.learner]
    sizes = [node.gpu_bytes for node in eligible if node.gpu_bytes is not None]
    return min(sizes) if sizes and len(sizes) == len(eligible) else None


def _limit(recipe: Recipe, request: WorkerRequest, nodes: Sequence[Node]) -> float | None:
    if request.kind == "rollout" and not request.gpus:
        return float(recipe.rollout.kv_cache_gib * GIB)
    size = _gpu_size(request, nodes)
    if size is None:
        return None
    if request.kind == "rollout":
        return size * recipe.rollout.gpu_share
    if request.kind == "learner" and recipe.takes_turns:
        return size - GPU_LIBRARIES["rollout"]  # of the sleeping engine
    return size * min(1.0, request.gpus)


def _crowded(requests: Sequence[WorkerRequest], placement: Placement) -> list[Shortfall]:
    faults = []
    for request in requests:
        unplaced = placement.unplaced.get(request.kind, 0)
        if unplaced:
            workers = f"{unplaced} of {request.workers} {request.kind} workers"
            text = f"{workers} find no node with {request_words(request)} free"
            faults.append(Shortfall(request.kind, "nodes", text, unplaced))
    return faults


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


def _turn_faults(recipe: Recipe, shape: ModelShape, size: float | None) -> list[Shortfall]:
    """What is missing of a GPU on which an engine generates while the rank beside it rests."""
    if size is None or not recipe.takes_turns:
        return []
    engine, rank = recipe.rollout.gpu_share * size, resting_memory(recipe, shape)
    if engine + rank <= size:
        return []
    text = (
        f"while an engine generates it takes {gib(engine)} (rollout.gpu_memory), and the rank on the same GPU keeps "
        f"{gib(rank)}: together {gib(engine + rank)} of {gib(size)}"
    )
    return [Shortfall("learner", "turns", text, engine + rank - size)]


def used_ram(load: NodeLoad, memory: Mapping[str, Memory]) -> float:
    """Bytes of RAM that the workers on a node take."""
    return sum(count * memory[kind].ram for kind, count in load.holds.items())


def _full_nodes(placement: Placement, memory: Mapping[str, Memory], services: float) -> list[Shortfall]:
    """The nodes whose RAM is too small. Ray and the run are counted on the node with the most RAM left."""
    known = [(load.node.ram - used_ram(load, memory), load.node.ram, load) for load in placement.loads if load.node.ram]
    if not known:
        return []
    emptiest = max(known, key=lambda entry: entry[0])[2]
    faults = []
    for free, ram, load in known:
        if load is emptiest:
            free -= services
        if free >= 0:
            continue
        kinds = {kind: count * memory[kind].ram for kind, count in load.holds.items()}
        parts = [f"{load.holds[kind]} {kind} {gib(size)}" for kind, size in kinds.items()]
        if load is emptiest:
            parts.append(f"Ray and the run {gib(services)}")
        text = f"{load.node.name}: has {gib(ram)} of RAM and would need {gib(ram - free)} ({', '.join(parts)})"
        largest = max(kinds, key=lambda kind: kinds[kind]) if kinds else "rollout"
        faults.append(Shortfall(largest, "RAM", text, -free))
    return faults
