"""What a recipe asks of machines, worked out before anything starts: CPUs and GPUs, memory, and bytes on disk.

Estimates, not promises: weights and optimiser follow from the number of parameters; what processes and text take was
measured with the quickstart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.tiny_model import TinyModelConfig

from .errors import UserError
from .recipe import Recipe, Role

GIB = 2**30
VERSIONS_IN_FLIGHT = 4  # the store keeps two versions; a third, and the learner's copy of it, while it is published
PHANTOM_BYTES = 9_500  # a drawn film of 112 × 112 pixels as PNG, and its questions
STEP_BYTES = 1_000  # metrics and TensorBoard
GROUP_BYTES = 250  # two lines of the ledger
PROCESS_BYTES = {"rollout": 1.5 * GIB, "reward": 0.15 * GIB, "learner": 1.5 * GIB}  # Python and libraries of one worker
SERVICES_BYTES = 3 * GIB  # Ray's own processes, and the run's
TINY_VOCABULARY = 640


@dataclass(frozen=True)
class Footprint:
    """Bytes, unless said otherwise.

    Attributes:
        recipe: what this is the footprint of.
        fault: why the size of its model is not known; weights and optimiser are in no number then.
        weights: one published version.
        files: what the run folder holds at its fullest, by kind.
        memory: RAM of all workers, by kind.
        gpu_memory: of one GPU of a worker, by kind; only kinds that ask for GPUs. Activations and KV cache are not in it.
    """

    recipe: Recipe
    fault: str | None
    weights: int
    files: Mapping[str, int]
    memory: Mapping[str, float]
    gpu_memory: Mapping[str, float]


def footprint(recipe: Recipe) -> Footprint:
    count, fault = 0, None
    try:
        count = _tiny_parameters(recipe.model.tiny) if recipe.model.tiny else _parameters_of(recipe.model.path.absolute())
    except UserError as error:
        fault = str(error)
    width = 4 if recipe.learner.dtype == "float32" else 2
    return Footprint(recipe, fault, weights=count * width, files=_files(recipe, count, width),
                     memory=_memory(recipe, count, width), gpu_memory=_gpu_memory(recipe, count, width))


def lacking(roles: Mapping[str, Role], limits: Mapping[str, float]) -> str | None:
    """One line on the first resource ("CPU", "GPU") of which all workers together want more than `limits` has, or None."""
    for resource, field in (("CPU", "cpus"), ("GPU", "gpus")):
        needs = {name: part.workers * getattr(part, field, 0) for name, part in roles.items()}
        total, limit = math.fsum(needs.values()), limits.get(resource, 0.0)
        if total > limit + 1e-9:
            worst = max(needs, key=lambda name: needs[name])
            part = roles[worst]
            return (f"{worst}.workers: {part.workers} × {getattr(part, field):g} {resource} is more than this cluster can "
                    f"have: all workers together need {total:g} {resource}, it has at most {limit:g}; "
                    f"lower {worst}.workers or {worst}.{field}")
    return None


def _parameters_of(folder: Path) -> int:
    """Parameters of a Hugging Face folder, from the headers of its safetensors files."""
    from safetensors import SafetensorError, safe_open

    if not folder.is_dir():
        raise UserError(f"model.path: {folder}: no such folder")
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "np") as file:
                total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())
        except (SafetensorError, OSError) as error:
            raise UserError(f"model.path: {path} cannot be read as safetensors ({error}); copy it again") from error
    if not total:
        raise UserError(f"model.path: {folder} has no *.safetensors file with weights")
    return total


def _tiny_parameters(config: TinyModelConfig) -> int:
    """Nearly what `make_tiny_model` builds; biases and norms are left out, the vocabulary depends on the run's texts."""
    text, vision = config.hidden, config.vision_hidden
    heads = text // 32
    attention = 2 * text**2 * (1 + max(1, heads // 2) / heads)
    tower = 2 * 3 * 14**2 * vision + config.vision_layers * 13 * vision**2 + 4 * vision * (4 * vision + text)
    return int(2 * TINY_VOCABULARY * text + config.layers * (attention + 9 * text**2) + tower)


def _files(recipe: Recipe, count: int, width: int) -> dict[str, int]:
    plain = recipe.learner.dtype == "float32" and recipe.learner.zero_stage == 0
    # Weights, Adam's two moments in float32, and but for the plain case a float32 master copy of the weights.
    commit = count * (width + 8 + (0 if plain else 4) + (width if _has_reference(recipe) else 0))
    films = recipe.data.phantoms
    answers = 2 * len(recipe.stages) * len(recipe.asked) * recipe.evaluation.test_per_family
    steps = sum(stage.gate.max_steps for stage in recipe.stages)
    groups = sum(stage.gate.max_steps * stage.training.tasks_per_step for stage in recipe.stages if stage.kind == "grpo")
    response = 600 + 6 * recipe.rollout.max_response_tokens
    return {
        "data": PHANTOM_BYTES * (films.train + films.val + films.test) if films else 0,
        # A new one stands before the oldest goes.
        "checkpoints": 0 if recipe.checkpoint.storage else commit * (recipe.checkpoint.keep + 1),
        "models": count * (width + (4 if recipe.model.tiny else 0)),
        "logs": answers * response + steps * (STEP_BYTES + recipe.log_trajectories * 2 * response) + groups * GROUP_BYTES}


def _memory(recipe: Recipe, count: int, width: int) -> dict[str, float]:
    rollout, learner = recipe.rollout, recipe.learner
    of_rollout = PROCESS_BYTES["rollout"] + count * _width(rollout.dtype)  # a GPU's engine reads them through RAM as well
    if not rollout.gpus:
        of_rollout += rollout.kv_cache_gib * GIB
    # A rank copies its whole weights to RAM to publish them; on CPU its state lies there too.
    of_learner = PROCESS_BYTES["learner"] + count * width + (0 if learner.gpus else _rank_state(recipe, count, width))
    return {"rollout workers": rollout.workers * of_rollout, "learner workers": learner.workers * of_learner,
            "reward workers": recipe.reward.workers * PROCESS_BYTES["reward"],
            "Ray and the run": SERVICES_BYTES + VERSIONS_IN_FLIGHT * count * width}


def _gpu_memory(recipe: Recipe, count: int, width: int) -> dict[str, float]:
    needs = {}
    if recipe.rollout.gpus:
        shards = max(1, int(recipe.rollout.gpus))
        share = min(1.0, recipe.rollout.gpus) * recipe.rollout.gpu_memory
        needs["rollout"] = count * _width(recipe.rollout.dtype) / shards / share
    if recipe.learner.gpus:
        needs["learner"] = _rank_state(recipe, count, width) / min(1.0, recipe.learner.gpus)
    return needs


def _rank_state(recipe: Recipe, count: int, width: int) -> float:
    """What one learner rank holds: weights, gradients, optimiser, reference; each sharded from its ZeRO stage on."""
    ranks, stage = recipe.learner.workers, recipe.learner.zero_stage
    optimiser = 8 if recipe.learner.dtype == "float32" and stage == 0 else 12
    sizes = ((3, width), (2, width), (1, optimiser))  # ZeRO stage from which it is sharded, bytes of a parameter
    sharded = sum(size / (ranks if stage >= first else 1) for first, size in sizes)
    return count * (sharded + (width if _has_reference(recipe) else 0))


def _has_reference(recipe: Recipe) -> bool:
    return any(stage.kind == "grpo" and stage.training.kl > 0 for stage in recipe.stages)


def _width(dtype: str) -> int:
    return 4 if dtype in ("float32", "float") else 2
