"""What to change in a recipe that does not fit. All advice is tried first: with it, the plan fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from cluster.config.recipe import Recipe
from cluster.config.recipe_file import with_settings
from cluster.errors import UserError
from cluster.planning.plan import Plan, Shortfall, make_plan
from cluster.planning.worker_memory import GIB, sequence_bytes

Settings = dict[str, Any]
Lever = Callable[[Recipe, Plan, Shortfall], Settings]
MIN_RESPONSE = 64  # tokens
MIN_PROMPT = 1024  # tokens
MIN_SEQUENCES = 16
MIN_CPUS = 0.1
MAX_GPU_MEMORY, MIN_GPU_MEMORY = 0.95, 0.2
MAX_RANKS = 64
PULLS = 6  # of one lever in a row
ORDER = ("nodes", "RAM", "memory", "turns")  # in which shortfalls are mended


@dataclass(frozen=True)
class Alternative:
    """One change, taken as far as it helps.

    Attributes:
        need: bytes of a GPU, or of RAM, that a worker then needs.
        fits: whether this change alone makes the plan fit.
    """

    kind: str
    settings: Settings
    need: float
    fits: bool


@dataclass(frozen=True)
class Advice:
    """How to make a plan fit.

    Attributes:
        settings: make the plan fit together; None if no such settings were found.
        needs: bytes that a worker then needs, by kind.
    """

    settings: Settings | None
    alternatives: Sequence[Alternative]
    needs: Mapping[str, float]


def advise(plan: Plan) -> Advice:
    """Settings with which a plan fits. Those that change no result are tried before those that do.

    Each is taken as far as it helps. Those that the rest makes needless are left out again.
    """
    taken: dict[str, Settings] = {}  # by lever
    current = plan
    while current.faults:
        step = _step(current)
        if step is None:
            break
        name, settings, current = step
        taken[name] = taken.get(name, {}) | settings
    memory_faults = [fault for fault in plan.faults if fault.about == "memory"]
    needs = {fault.kind: current.memory[fault.kind].total for fault in memory_faults}
    alternatives: list[Alternative] = []
    for fault in memory_faults:
        alternatives += _alternatives(plan, fault)
    if current.faults:
        return Advice(None, alternatives, needs)
    for name in reversed(list(taken)):
        without = _merged({other: settings for other, settings in taken.items() if other != name})
        tried = _with(plan, without)
        if tried and tried.fits:
            del taken[name]
    return Advice(_merged(taken), alternatives, needs)


def _merged(taken: Mapping[str, Settings]) -> Settings:
    """The settings of several levers as one; later ones prevail."""
    merged: Settings = {}
    for settings in taken.values():
        merged |= settings
    return merged


def _with(plan: Plan, settings: Settings) -> Plan | None:
    """The plan with other settings; None if a recipe may not have them."""
    try:
        return make_plan(with_settings(plan.recipe, settings), plan.shape, plan.source, plan.nodes)
    except (ValidationError, UserError):
        return None


def _step(plan: Plan) -> tuple[str, Settings, Plan] | None:
    """The first lever that lessens the first shortfall that has one: its name, settings, and the plan with them.

    A lever may worsen only what comes later in `ORDER`, so the search cannot go in circles.
    """
    for fault in sorted(plan.faults, key=lambda fault: ORDER.index(fault.about)):
        for lever in LEVERS.get((fault.kind, fault.about), ()):
            pulled = _pull(plan, lever, fault)
            if pulled:
                return lever.__name__, *pulled
    return None


def _pull(plan: Plan, lever: Lever, fault: Shortfall) -> tuple[Settings, Plan] | None:
    """Pulls a lever until it helps.

    Once may not be enough: half of a worker's CPUs may not fit where a quarter does.
    """
    settings: Settings = {}
    current = plan
    for _ in range(PULLS):
        more = lever(current.recipe, plan, fault)
        if not more:
            return None
        settings = settings | more
        tried = _with(plan, settings)
        if tried is None:
            return None
        if _better(tried, plan, fault):
            return settings, tried
        current = tried
    return None


def _better(tried: Plan, plan: Plan, fault: Shortfall) -> bool:
    """Whether `tried` lessens the shortfall, and worsens none that is mended before or with it."""
    if _excess(tried, fault) >= _excess(plan, fault) - 1e-9:
        return False
    rank = ORDER.index(fault.about)
    earlier = [other for other in tried.faults if ORDER.index(other.about) <= rank]
    return all(_excess(tried, other) <= _excess(plan, other) + 1e-9 for other in earlier)


def _alternatives(plan: Plan, fault: Shortfall) -> list[Alternative]:
    """Each lever for a shortfall alone, taken as far as it helps."""
    alternatives = []
    for lever in LEVERS.get((fault.kind, fault.about), ()):
        taken: Settings = {}
        best = plan
        while _excess(best, fault):
            step = lever(best.recipe, plan, fault)
            tried = _with(plan, taken | step) if step else None
            if tried is None or _excess(tried, fault) >= _excess(best, fault) - 1e-9:
                break
            taken, best = taken | step, tried
        if taken:
            alternatives.append(Alternative(fault.kind, taken, _need(best, fault), best.fits))
    return alternatives


def _need(plan: Plan, fault: Shortfall) -> float:
    """Bytes that a worker needs; an engine with the KV cache of one sequence."""
    memory = plan.memory[fault.kind]
    if fault.kind == "learner":
        return memory.total
    return memory.total - memory.parts["KV cache"] + sequence_bytes(plan.recipe, plan.shape)


def _excess(plan: Plan, fault: Shortfall) -> float:
    """What is missing of a resource: for all kinds of workers together, but for GPU memory of one kind."""
    return sum(
        other.excess
        for other in plan.faults
        if other.about == fault.about and (fault.about != "memory" or other.kind == fault.kind)
    )


# -- levers: each returns the next step of a change, {} if there is none ---------------------------------------------


def _zero_stage(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    learner = recipe.learner
    return {"learner.zero_stage": learner.zero_stage + 1} if learner.zero_stage < 3 and learner.workers > 1 else {}


def _micro_batch(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    """Half, but at least a whole sample: less changes nothing."""
    now, minimum = recipe.learner.micro_batch_tokens, recipe.rollout.max_model_tokens
    return {"learner.micro_batch_tokens": max(minimum, now // 2)} if now > minimum else {}


def _checkpointing(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    return {} if recipe.learner.gradient_checkpointing else {"learner.gradient_checkpointing": True}


def _offload(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    """Offloads master weights and moments; with ZeRO-2 gradients as well."""
    learner = recipe.learner
    if not learner.gpus or learner.offload != "none":
        return {}
    return {"learner.offload": "optimiser"} | ({"learner.zero_stage": 2} if learner.zero_stage < 2 else {})


def _more_ranks(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    """Twice the ranks, which share what ZeRO shards. Below ZeRO-2 more ranks would each hold as much."""
    learner = recipe.learner
    if learner.workers >= MAX_RANKS:
        return {}
    return {"learner.workers": 2 * learner.workers, "learner.zero_stage": max(2, learner.zero_stage)}


def _learner_width(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    learner = recipe.learner
    if learner.dtype != "float32":
        return {}
    return {"learner.dtype": "bfloat16", "learner.zero_stage": max(1, learner.zero_stage)}


def _no_reference(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    measured = [stage for stage in recipe.stages if stage.needs_reference]
    settings: Settings = {f"stages.{stage.name}.training.kl": 0.0 for stage in measured}
    own = [stage for stage in measured if stage.folder_models.reference]
    return settings | {f"stages.{stage.name}.training.reference_path": None for stage in own}


def _shorter_prompts(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    """Half the prompt. Only smaller films fit into it; `curlvpr data check` says which tasks do."""
    response, whole = recipe.rollout.max_response_tokens, recipe.rollout.max_model_tokens
    prompt = (whole - response) // 2
    return _length(recipe, response, response + prompt) if prompt >= MIN_PROMPT else {}


def _shorter(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    """Half the response, with the prompt as before."""
    response, whole = recipe.rollout.max_response_tokens, recipe.rollout.max_model_tokens
    return _length(recipe, response // 2, whole - response + response // 2) if response // 2 >= MIN_RESPONSE else {}


def _length(recipe: Recipe, response: int, whole: int) -> Settings:
    settings: Settings = {"rollout.max_response_tokens": response, "rollout.max_model_tokens": whole}
    if recipe.learner.micro_batch_tokens == recipe.rollout.max_model_tokens:  # a micro-batch of one sample stays one
        settings["learner.micro_batch_tokens"] = whole
    return settings


def _batched(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    now, minimum = recipe.rollout.max_batched_tokens, recipe.rollout.max_model_tokens
    return {"rollout.max_batched_tokens": max(minimum, now // 2)} if now > minimum else {}


def _fewer_sequences(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    now = recipe.rollout.max_sequences
    return {"rollout.max_sequences": now // 2} if now // 2 >= MIN_SEQUENCES else {}


def _more_of_gpu(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    whole = recipe.rollout.gpus >= 1 and recipe.rollout.gpu_memory < MAX_GPU_MEMORY
    return {"rollout.gpu_memory": MAX_GPU_MEMORY} if whole else {}


def _less_of_gpu(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    """A twentieth of the GPU less for the engine."""
    less = round(recipe.rollout.gpu_memory - 0.05, 2)
    return {"rollout.gpu_memory": less} if less >= MIN_GPU_MEMORY else {}


def _more_shards(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    return {"rollout.gpus": 2.0 * recipe.rollout.gpus} if recipe.rollout.gpus >= 1 else {}


def _rollout_width(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    return {"rollout.dtype": "bfloat16"} if recipe.rollout.dtype in ("float32", "float") else {}


def _more_cache(recipe: Recipe, plan: Plan, _: Shortfall) -> Settings:
    need = math.ceil(sequence_bytes(recipe, plan.shape) / GIB)
    return {"rollout.kv_cache_gib": need} if not recipe.rollout.gpus and need > recipe.rollout.kv_cache_gib else {}


def _less_cache(recipe: Recipe, plan: Plan, _: Shortfall) -> Settings:
    now = recipe.rollout.kv_cache_gib
    return {"rollout.kv_cache_gib": now - 1} if not recipe.rollout.gpus and now > 1 else {}


def _fewer(recipe: Recipe, _: Plan, fault: Shortfall) -> Settings:
    kind, role = fault.kind, recipe.roles[fault.kind]
    workers = getattr(role, "fewest", role.workers)
    key = "min_workers" if getattr(role, "min_workers", None) else "workers"
    fewer = max(1, workers - (int(fault.excess) if fault.about == "nodes" else 1))
    if fewer >= workers:
        return {}
    settings: Settings = {f"{kind}.{key}": fewer}
    if (getattr(role, "min", None) or 0) > fewer:
        settings[f"{kind}.min"] = fewer
    return settings


def _fewer_rollouts(recipe: Recipe, plan: Plan, _: Shortfall) -> Settings:
    """Fewer rollout workers, for the sake of other workers."""
    return _fewer(recipe, plan, Shortfall("rollout", "", "", 1))


def _fewer_cpus(recipe: Recipe, _: Plan, fault: Shortfall) -> Settings:
    """Half the CPUs. Ray only counts them; what a worker really uses is up to its threads."""
    now = recipe.roles[fault.kind].cpus
    return {f"{fault.kind}.cpus": now / 2} if now > MIN_CPUS else {}


def _fewer_rollout_cpus(recipe: Recipe, plan: Plan, _: Shortfall) -> Settings:
    return _fewer_cpus(recipe, plan, Shortfall("rollout", "", "", 1))


def _fewer_gpus(recipe: Recipe, _: Plan, fault: Shortfall) -> Settings:
    now = getattr(recipe.roles[fault.kind], "gpus", 0)
    return {f"{fault.kind}.gpus": float(now // 2)} if now >= 2 else {}


CROWDED = (_fewer_rollout_cpus, _fewer_rollouts, _fewer, _fewer_cpus)
FULL = (_less_cache, _micro_batch, _fewer_rollouts, _fewer)
LEVERS: dict[tuple[str, str], Sequence[Lever]] = {
    ("rollout", "memory"): (
        _more_cache,
        _batched,
        _fewer_sequences,
        _more_of_gpu,
        _more_shards,
        _rollout_width,
        _shorter_prompts,
        _shorter,
    ),
    ("learner", "memory"): (
        _zero_stage,
        _micro_batch,
        _checkpointing,
        _more_ranks,
        _offload,
        _learner_width,
        _no_reference,
        _shorter_prompts,
        _shorter,
    ),
    ("learner", "turns"): (_less_of_gpu, _zero_stage, _offload),
    ("rollout", "nodes"): (_fewer, _fewer_gpus, _fewer_cpus),
    ("learner", "nodes"): CROWDED,
    ("reward", "nodes"): CROWDED,
    ("rollout", "RAM"): FULL,
    ("learner", "RAM"): FULL,
    ("reward", "RAM"): FULL,
}
