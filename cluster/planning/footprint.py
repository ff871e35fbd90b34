"""The resources that a recipe needs, estimated before anything starts: CPUs and GPUs, memory, and bytes on disk.

Weights and optimiser follow from the number of parameters. What processes and text take was measured with the
quickstart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.config.recipe import Recipe, Role
from cluster.errors import UserError
from cluster.planning.adapter_way import adapters_alone
from cluster.planning.model_shape import parameters_of, shape_of, trained_parameters
from cluster.planning.placement import worker_requests
from cluster.planning.worker_memory import (
    GIB,
    PROCESS_BYTES,
    has_reference,
    learner_ram,
    rank_state,
    rollout_ram,
    shards_of,
    width_of,
)
from curriculum.phantoms.hospital import HOSPITALS
from curriculum.phantoms.phantom_set import PhantomConfig

# The store keeps two versions, or one and a part of the next; a worker may still read a third.
VERSIONS_IN_FLIGHT = 3
PIXEL_BYTES = 0.757  # on disk for a pixel of a drawn film: PNG, and its questions
STEP_BYTES = 1_000  # metrics and TensorBoard
GROUP_BYTES = 250  # two lines of the ledger
SERVICES_BYTES = 3 * GIB  # Ray's own processes, and the run's


@dataclass(frozen=True)
class Footprint:
    """The resources of a run. All sizes are in bytes.

    Attributes:
        fault: why the size of the model is unknown; all numbers are then without weights and optimiser.
        weights: size of the model.
        version: size of one published version.
        commit: size of one commit.
        files: size of the run folder at its fullest, by kind of file.
        memory: RAM of all workers, by kind.
        gpu_memory: on each GPU of a worker, for kinds that use GPUs; without activations and KV cache.
    """

    recipe: Recipe
    fault: str | None
    weights: int
    version: int
    commit: int
    files: Mapping[str, int]
    memory: Mapping[str, float]
    gpu_memory: Mapping[str, float]


def footprint(recipe: Recipe) -> Footprint:
    """The estimate for a recipe. Reads headers of weights' files, and loads no model."""
    count = trained = version = 0
    fault = None
    try:
        count = shape_of(recipe.model).parameters if recipe.model.tiny else parameters_of(recipe.model.folder)
        trained = trained_parameters(recipe.model, recipe.learner, count)
        version = version_parameters(recipe, count, trained)
    except UserError as error:
        fault = str(error)
    width = width_of(recipe.learner.dtype)
    return Footprint(
        recipe,
        fault,
        weights=count * width,
        version=version * width,
        commit=_commit(recipe, count, trained, width),
        files=_files(recipe, count, trained, width),
        memory=_memory(recipe, count, trained, version),
        gpu_memory=_gpu_memory(recipe, count, trained),
    )


def missing_resource(roles: Mapping[str, Role], limits: Mapping[str, float]) -> str | None:
    """The first resource ("CPU", "GPU") that the workers together need more of than there is, in one line; else None.

    Args:
        limits: how much of each resource there is. Elastic workers count at their smallest number.
    """
    requests = worker_requests(roles, learner=False)
    for resource, field in (("CPU", "cpus"), ("GPU", "gpus")):
        needs = {request: request.workers * getattr(request, field) for request in requests}
        total, limit = math.fsum(needs.values()), limits.get(resource, 0.0)
        if total > limit + 1e-9:
            worst = max(requests, key=lambda request: needs[request])
            return (
                f"{worst.kind}.workers: {worst.workers} × {getattr(worst, field):g} {resource} is more than this "
                f"cluster can have: all workers together need {total:g} {resource}, it has at most {limit:g}; "
                f"lower {worst.kind}.workers or {worst.kind}.{field}"
            )
    return None


def _commit(recipe: Recipe, count: int, trained: int, width: int) -> int:
    plain = recipe.learner.dtype == "float32" and recipe.learner.zero_stage == 0
    # The policy; then, of what is trained, the weights, Adam's two float32 moments and, except in the plain case, a
    # float32 master copy.
    commit = count * width + trained * (width + 8 + (0 if plain else 4))
    if has_reference(recipe):
        commit += (trained if recipe.learner.lora else count) * width
    return commit


def _files(recipe: Recipe, count: int, trained: int, width: int) -> dict[str, int]:
    commit = _commit(recipe, count, trained, width)
    answers = 2 * len(recipe.stages) * len(recipe.tested_families) * recipe.evaluation.test_per_family
    steps = sum(stage.gate.max_steps for stage in recipe.stages)
    groups = sum(stage.gate.max_steps * stage.tasks_per_step for stage in recipe.stages if stage.generates)
    response = 600 + 6 * recipe.rollout.max_response_tokens
    step = STEP_BYTES + recipe.log_trajectories * 2 * response
    return {
        "data": _phantoms(recipe.data.phantoms) if recipe.data.phantoms else 0,
        "checkpoints": 0 if recipe.checkpoint.storage else _commits(recipe, commit, count * width),
        "models": count * (width + (4 if recipe.model.tiny else 0)),
        "logs": answers * response + steps * step + groups * GROUP_BYTES,
    }


def _phantoms(films: PhantomConfig) -> int:
    side = HOSPITALS[films.hospital].size
    return round(PIXEL_BYTES * side**2) * (films.train + films.val + films.test)


def _commits(recipe: Recipe, commit: int, policy: int) -> int:
    """All that is kept at once. A new commit is written before the oldest is removed; the best versions of the stage in
    progress are kept whole, of those of earlier stages the policy alone.
    """
    best = recipe.checkpoint.best.keep
    return commit * (recipe.checkpoint.keep + 1 + best) + policy * best * (len(recipe.stages) - 1)


def version_parameters(recipe: Recipe, count: int, trained: int) -> int:
    """How many numbers a published version has: the model's, or those of adapters that travel alone.

    Args:
        count: parameters of the model.
        trained: those that are trained; with adapters, the adapters'.

    Raises:
        UserError: the model's folder says no family.
    """
    return trained if adapters_alone(recipe) else count


def services_ram(recipe: Recipe, version: int) -> float:
    """RAM on the run's node beside workers: Ray's processes, the run's, and versions in the object store.

    Args:
        version: as `version_parameters`.
    """
    return SERVICES_BYTES + _versions(recipe, version)


def versions_ram(recipe: Recipe) -> int:
    """Bytes of the versions in the object store of the run's node; 0 if the model is tiny, or its size unknown here."""
    if recipe.model.tiny:
        return 0
    try:
        count = parameters_of(recipe.model.folder)
        trained = trained_parameters(recipe.model, recipe.learner, count)
        return _versions(recipe, version_parameters(recipe, count, trained))
    except UserError:
        return 0


def _versions(recipe: Recipe, version: int) -> int:
    return VERSIONS_IN_FLIGHT * version * width_of(recipe.learner.dtype)


def _memory(recipe: Recipe, count: int, trained: int, version: int) -> dict[str, float]:
    rollout, learner = recipe.rollout, recipe.learner
    return {
        "rollout workers": rollout.workers * rollout_ram(recipe, count),
        "learner workers": learner.workers * learner_ram(recipe, count, trained),
        "reward workers": recipe.reward.workers * PROCESS_BYTES["reward"],
        "Ray and the run": services_ram(recipe, version),
    }


def _gpu_memory(recipe: Recipe, count: int, trained: int) -> dict[str, float]:
    needs = {}
    if recipe.rollout.gpus:
        shards = shards_of(recipe)
        share = min(1.0, recipe.rollout.gpus) * recipe.rollout.gpu_memory
        needs["rollout"] = count * width_of(recipe.rollout.dtype) / shards / share
    if recipe.learner.gpus:
        needs["learner"] = sum(rank_state(recipe, count, trained).values()) / min(1.0, recipe.learner.gpus)
    return needs
