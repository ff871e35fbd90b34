"""What to change in a recipe that does not fit. Advice is tried before it is given: with all of it, the plan fits."""

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
LEAST_RESPONSE, LEAST_PROMPT, LEAST_SEQUENCES, MOST_GPU_MEMORY, MOST_RANKS, LEAST_CPUS, PULLS = (
    64,
    1024,
    16,
    0.95,
    64,
    0.1,
    6,
)
ORDER = ("nodes", "RAM", "memory")  # in which faults are mended


@dataclass(frozen=True)
class Alternative:
    """One change, taken as far as it goes: `need` is what a worker then needs (bytes of a GPU, or of RAM)."""

    kind: str
    settings: Settings
    need: float
    fits: bool


@dataclass(frozen=True)
class Advice:
    """`settings` make the plan fit; None: none were found that do. `needs`: bytes of a worker then, by kind."""

    settings: Settings | None
    alternatives: Sequence[Alternative]
    needs: Mapping[str, float]


def advise(plan: Plan) -> Advice:
    """Settings that change no result come before those that do. Each is taken as far as it helps; what then proves needless
    is left out."""
    taken: dict[str, Settings] = {}
    present = plan
    while present.faults and (step := _step(present)):
        name, settings, present = step
        taken[name] = taken.get(name, {}) | settings
    needs = {fault.kind: present.memory[fault.kind].total for fault in plan.faults if fault.about == "memory"}
    alternatives = [found for fault in plan.faults if fault.about == "memory" for found in _alternatives(plan, fault)]
    if present.faults:
        return Advice(None, alternatives, needs)
    for name in reversed(list(taken)):
        rest = {key: value for other, settings in taken.items() if other != name for key, value in settings.items()}
        tried = _with(plan, rest)
        if tried and tried.fits:
            del taken[name]
    return Advice({key: value for settings in taken.values() for key, value in settings.items()}, alternatives, needs)


def _with(plan: Plan, settings: Settings) -> Plan | None:
    """The plan with other settings, None where no recipe may have them."""
    try:
        return make_plan(with_settings(plan.recipe, settings), plan.shape, plan.source, plan.nodes)
    except (ValidationError, UserError):
        return None


def _step(plan: Plan) -> tuple[str, Settings, Plan] | None:
    """The first lever for the first fault that has one. It must lessen the fault, and may worsen only what comes after it in
    `ORDER`: so the search cannot go in circles."""
    for fault in sorted(plan.faults, key=lambda fault: ORDER.index(fault.about)):
        for lever in LEVERS.get((fault.kind, fault.about), ()):
            if step := _pull(plan, lever, fault):
                return lever.__name__, *step
    return None


def _pull(plan: Plan, lever: Lever, fault: Shortfall) -> tuple[Settings, Plan] | None:
    """A lever, a few times where once is not enough to see a difference: a quarter of a worker's CPUs makes room, half none."""
    settings: Settings = {}
    present: Plan | None = plan
    for _ in range(PULLS):
        more = lever(present.recipe, plan, fault)
        settings = settings | more
        present = _with(plan, settings) if more else None
        if present is None:
            return None
        if _better(present, plan, fault):
            return settings, present
    return None


def _better(tried: Plan, plan: Plan, fault: Shortfall) -> bool:
    first = ORDER.index(fault.about)
    settled = [other for other in tried.faults if ORDER.index(other.about) <= first]
    return _excess(tried, fault) < _excess(plan, fault) - 1e-9 and all(
        _excess(tried, other) <= _excess(plan, other) + 1e-9 for other in settled
    )


def _alternatives(plan: Plan, fault: Shortfall) -> list[Alternative]:
    found = []
    for lever in LEVERS.get((fault.kind, fault.about), ()):
        taken: Settings = {}
        best = plan
        while (step := lever(best.recipe, plan, fault)) and (tried := _with(plan, taken | step)):
            if _excess(tried, fault) >= _excess(best, fault) - 1e-9 or not _excess(best, fault):
                break
            taken, best = taken | step, tried
        if taken:
            found.append(Alternative(fault.kind, taken, _need(best, fault), best.fits))
    return found


def _need(plan: Plan, fault: Shortfall) -> float:
    """Of an engine: with the KV cache of one sequence."""
    memory = plan.memory[fault.kind]
    if fault.kind == "learner":
        return memory.total
    return memory.total - memory.parts["KV cache"] + sequence_bytes(plan.recipe, plan.shape)


def _excess(plan: Plan, fault: Shortfall) -> float:
    """Of all workers together where they share what lacks; of a GPU each kind has its own."""
    return sum(
        other.excess
        for other in plan.faults
        if other.about == fault.about and (fault.about != "memory" or other.kind == fault.kind)
    )


# -- levers: the next step of a change, {} where there is none -----------------------------------------------------------


def _zero_stage(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    learner = recipe.learner
    return {"learner.zero_stage": learner.zero_stage + 1} if learner.zero_stage < 3 and learner.workers > 1 else {}


def _micro_batch(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    """Below a whole sample it changes nothing."""
    now, least = recipe.learner.micro_batch_tokens, recipe.rollout.max_model_tokens
    return {"learner.micro_batch_tokens": max(least, now // 2)} if now > least else {}


def _checkpointing(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    return {} if recipe.learner.gradient_checkpointing else {"learner.gradient_checkpointing": True}


def _offload(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    """Master weights and moments; with ZeRO-2, gradients as well."""
    learner = recipe.learner
    if not learner.gpus or learner.offload != "none":
        return {}
    return {"learner.offload": "optimiser"} | ({"learner.zero_stage": 2} if learner.zero_stage < 2 else {})


def _more_ranks(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    """Ranks share what ZeRO shards; ZeRO-2 at least, or more of them would hold as much."""
    learner = recipe.learner
    if learner.workers >= MOST_RANKS:
        return {}
    return {"learner.workers": 2 * learner.workers, "learner.zero_stage": max(2, learner.zero_stage)}


def _learner_width(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    learner = recipe.learner
    return (
        {"learner.dtype": "bfloat16", "learner.zero_stage": max(1, learner.zero_stage)}
        if learner.dtype == "float32"
        else {}
    )


def _no_reference(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    return {f"stages.{stage.name}.training.kl": 0.0 for stage in recipe.stages if stage.needs_reference}


def _shorter_prompts(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    """Half of what a response leaves; smaller films fit into it, and `curlvpr data check` says which tasks do."""
    response, whole = recipe.rollout.max_response_tokens, recipe.rollout.max_model_tokens
    prompt = (whole - response) // 2
    return _length(recipe, response, response + prompt) if prompt >= LEAST_PROMPT else {}


def _shorter(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    """A response of half the length; a prompt may be as long as before."""
    response, whole = recipe.rollout.max_response_tokens, recipe.rollout.max_model_tokens
    return _length(recipe, response // 2, whole - response + response // 2) if response // 2 >= LEAST_RESPONSE else {}


def _length(recipe: Recipe, response: int, whole: int) -> Settings:
    one = recipe.learner.micro_batch_tokens == recipe.rollout.max_model_tokens  # a micro-batch of one sample stays one
    return {"rollout.max_response_tokens": response, "rollout.max_model_tokens": whole} | (
        {"learner.micro_batch_tokens": whole} if one else {}
    )


def _batched(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    now, least = recipe.rollout.max_batched_tokens, recipe.rollout.max_model_tokens
    return {"rollout.max_batched_tokens": max(least, now // 2)} if now > least else {}


def _fewer_sequences(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    now = recipe.rollout.max_sequences
    return {"rollout.max_sequences": now // 2} if now // 2 >= LEAST_SEQUENCES else {}


def _more_of_gpu(recipe: Recipe, _: Plan, __: Shortfall) -> Settings:
    whole = recipe.rollout.gpus >= 1 and recipe.rollout.gpu_memory < MOST_GPU_MEMORY
    return {"rollout.gpu_memory": MOST_GPU_MEMORY} if whole else {}


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
    kind, part = fault.kind, recipe.roles[fault.kind]
    workers, key = (
        getattr(part, "fewest", part.workers),
        "min_workers" if getattr(part, "min_workers", None) else "workers",
    )
    fewer = max(1, workers - (int(fault.excess) if fault.about == "nodes" else 1))
    least = {f"{kind}.min": fewer} if (getattr(part, "min", None) or 0) > fewer else {}
    return {f"{kind}.{key}": fewer} | least if fewer < workers else {}


def _fewer_rollouts(recipe: Recipe, plan: Plan, _: Shortfall) -> Settings:
    """They leave room to others."""
    return _fewer(recipe, plan, Shortfall("rollout", "", "", 1))


def _fewer_cpus(recipe: Recipe, _: Plan, fault: Shortfall) -> Settings:
    """Half as many; what a worker uses is up to its threads, Ray only counts."""
    now = recipe.roles[fault.kind].cpus
    return {f"{fault.kind}.cpus": now / 2} if now > LEAST_CPUS else {}


def _fewer_rollout_cpus(recipe: Recipe, plan: Plan, _: Shortfall) -> Settings:
    return _fewer_cpus(recipe, plan, Shortfall("rollout", "", "", 1))


def _fewer_gpus(recipe: Recipe, _: Plan, fault: Shortfall) -> Settings:
    now = recipe.roles[fault.kind].gpus
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
    ("rollout", "nodes"): (_fewer, _fewer_gpus, _fewer_cpus),
    ("learner", "nodes"): CROWDED,
    ("reward", "nodes"): CROWDED,
    ("rollout", "RAM"): FULL,
    ("learner", "RAM"): FULL,
    ("reward", "RAM"): FULL,
}
