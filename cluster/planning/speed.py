"""How fast a run could be: the FLOPs of a step's learning, and what engines can write, on GPUs whose peaks are known.

All samples have their full length. Learning is reckoned at the MFU that dense models of this size commonly reach.
Writing is limited by the memory: for each token that its sequences get, an engine reads its weights once, and the KV
cache of them all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actors.algorithm.teacher import Teacher, teacher_of
from actors.learner.config import LearnerConfig
from actors.model.families import FAMILIES, ModelFamily
from actors.model.flops.amounts import Amounts, causal_pairs, mean, of_images, pair_of, segment_pairs
from actors.model.flops.costs import model_costs, windows_of
from actors.model.flops.gpus import Peak, peak_of
from actors.model.packing import Segments
from cluster.config.recipe import ModelConfig, Recipe
from cluster.planning.model_shape import empty_model
from cluster.planning.plan import Plan
from cluster.planning.worker_memory import shards_of, width_of
from cluster.stages import StageKind

MFU = 0.4


@dataclass(frozen=True)
class StageSpeed:
    """Learning in a stage's step.

    Attributes:
        model_flops: that all ranks together need for it.
        again: those that are computed a second time on top, since activations and logits are not kept.
        seconds: at `MFU`; None if the GPU's peak is not known.
        tokens_per_s_per_gpu: trained tokens, of a rank.
    """

    stage: str
    model_flops: float
    again: float
    seconds: float | None
    tokens_per_s_per_gpu: float | None


@dataclass(frozen=True)
class Speed:
    """`rollout_tokens_per_s`: that a GPU writes at most; None if its peak is not known."""

    stages: Sequence[StageSpeed]
    rollout_tokens_per_s: float | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"mfu": MFU}

    def notes(self) -> list[str]:
        lines = []
        for stage in self.stages:
            line = (
                f"stages.{stage.stage}: learning takes at most {stage.model_flops / 1e15:,.3g} PFLOP a step, and "
                f"{stage.again / 1e15:,.3g} to compute activations and logits again"
            )
            if stage.seconds is not None:
                line += (
                    f"; at an MFU of {MFU:.0%} {stage.seconds:,.3g} s, "
                    f"{stage.tokens_per_s_per_gpu:,.0f} trained tokens/s/GPU"
                )
            lines.append(line)
        if self.rollout_tokens_per_s is not None:
            lines.append(f"engines write at most {self.rollout_tokens_per_s:,.0f} tokens/s/GPU")
        return lines


def estimate_speed(plan: Plan) -> Speed:
    """Builds the model on the meta device, which takes no memory."""
    recipe = plan.recipe
    model = empty_model(recipe.model, recipe.learner)
    family = FAMILIES[model.config.model_type]
    costs = model_costs(model, family, recipe.learner.gradient_checkpointing)
    learner, rollout = (_peak(recipe, kind, plan) for kind in ("learner", "rollout"))
    stages = []
    for stage in recipe.stages:
        amounts = step_amounts(plan, stage, family, model.config)
        flops = costs.of(amounts)
        needed = flops.forward * (1 + forwards_alone(stage)) + flops.backward + _others_flops(recipe, stage, amounts)
        seconds = needed / (MFU * learner.flops * recipe.learner.fewest) if learner else None
        speed = amounts.words / seconds / recipe.learner.fewest if seconds else None
        stages.append(StageSpeed(stage.name, needed, flops.again, seconds, speed))
    return Speed(stages, _writing(plan, rollout) if rollout else None)


def step_amounts(plan: Plan, stage: StageKind, family: ModelFamily, config: Any) -> Amounts:
    """What all ranks together read in one forward pass over the samples of a step, each of full length.

    A prompt is read once for each pack with responses to it; without packing, once for each response.
    """
    rollout = plan.recipe.rollout
    response = min(rollout.max_response_tokens, rollout.max_model_tokens - 1)
    prompt = rollout.max_model_tokens - response
    room = plan.recipe.learner.micro_batch_tokens - prompt
    packs: list[int] = []  # responses of each
    learnt = left = stage.learnt_per_task
    while left:
        packs.append(min(left, max(1, room // response)))
        left -= packs[-1]
    words = learnt * response
    films = [_largest_image(plan, prompt, family, config)] if family.reads_images else []
    patches, patch_pairs = of_images(films, getattr(config, "vision_config", None))
    if family.can_pack(config):
        tokens = len(packs) * prompt + words - learnt
        pairs = float(sum(_pack_pairs(prompt, response, count) for count in packs))
    else:
        tokens = learnt * rollout.max_model_tokens
        windows = windows_of(config.get_text_config())
        pairs = learnt * mean(causal_pairs(rollout.max_model_tokens, window=window) for window in windows)
    tasks = stage.tasks_per_step
    seen = tasks * len(packs)
    return Amounts(tasks * tokens, tasks * pairs, tasks * words, seen * patches, seen * patch_pairs)


def _pack_pairs(prompt: int, response: int, count: int) -> int:
    lengths = (prompt, *[response - 1] * count)
    return segment_pairs(Segments(lengths, (None, *[0] * count)))


def _largest_image(plan: Plan, prompt: int, family: ModelFamily, config: Any) -> Mapping[str, np.ndarray]:
    """The largest film that fits, as its processor would return it; without its pixels."""
    tokens = prompt if plan.shape.image_tokens is None else min(prompt, plan.shape.image_tokens)
    patches = tokens * plan.shape.patches
    if family.windowed_tower:
        side = math.isqrt(patches)
        return {"image_grid_thw": np.array([[1, side, side]]), "pixel_values": np.empty((0, 0))}
    vision = config.vision_config
    height, width = pair_of(vision.image_size)
    down, across = pair_of(vision.patch_size)
    tiles = -(-patches // (height // down * (width // across)))
    return {"pixel_values": np.broadcast_to(np.float32(0), (tiles, 3, height, width))}


def forwards_alone(stage: StageKind) -> float:
    """Forward passes of a step without a backward pass, beside that with one: of the policy before later updates, or
    before all if KL is in the reward; of the reference, unless that is another folder's model.
    """
    in_reward = stage.needs_reference and getattr(stage.training, "kl_in", "") == "reward"
    own = 1.0 if in_reward else 1 - 1 / stage.updates_per_step
    return own + (stage.needs_reference and stage.folder_models.reference is None)


def _others_flops(recipe: Recipe, stage: StageKind, amounts: Amounts) -> float:
    """FLOPs of the forward passes of other folders' models in a step; a teacher reads the tasks of its families."""
    shares: dict[str, float] = {}
    if stage.folder_models.reference is not None:
        shares[stage.folder_models.reference] = 1.0
    teachers: Sequence[Teacher] = getattr(stage.training, "teacher", ())
    for family, share in stage.mixture.items():
        teacher = teacher_of(family, teachers)
        if teacher is not None:
            shares[teacher.folder] = shares.get(teacher.folder, 0.0) + share
    total = 0.0
    for folder, share in shares.items():
        model = empty_model(ModelConfig(path=Path(folder)), LearnerConfig())
        costs = model_costs(model, FAMILIES[model.config.model_type], False)
        total += share * costs.of(amounts).forward
    return total


def _peak(recipe: Recipe, kind: str, plan: Plan) -> Peak | None:
    """Of the slowest GPU that Ray may give a worker; None without GPUs, or if one is not known."""
    (request,) = [request for request in plan.requests if request.kind == kind]
    if not request.gpus or width_of(getattr(recipe, kind).dtype) > 2:
        return None
    eligible = [node for node in plan.nodes if node.gpus >= request.gpus and node.learner >= request.learner]
    peaks = [peak_of(node.gpu or "") for node in eligible]
    known = [peak for peak in peaks if peak is not None]
    return min(known) if known and len(known) == len(peaks) else None


def _writing(plan: Plan, peak: Peak) -> float | None:
    """Tokens/s that a GPU of an engine writes at most, with as many sequences as there are, in the middle of their
    responses.
    """
    rollout, shape, shards = plan.recipe.rollout, plan.shape, shards_of(plan.recipe)
    asked = [stage.tasks_per_step * stage.group_size for stage in plan.recipe.stages if stage.generates]
    sequences = min(rollout.max_sequences, plan.sequences or 0, -(-max(asked, default=0) // rollout.workers))
    width = width_of(rollout.dtype)
    context = rollout.max_model_tokens - rollout.max_response_tokens / 2
    cache = sequences * context * shape.kv_bytes_per_token(width, shards)
    reading_s = (shape.parameters * width / shards + cache) / peak.bandwidth
    computing_s = 2 * shape.parameters * sequences / shards / peak.flops
    return sequences / max(reading_s, computing_s) / shards * min(1.0, rollout.gpus_at_work)
