"""How adapters reach the engines: alone, where vLLM adds them to the base weights as it computes, or merged into whole
weights. The recipe and the model's family decide; no setting does.
"""

from __future__ import annotations

from actors.model.config import Lora
from actors.model.families import FAMILIES
from actors.rollout.adapters import RANKS
from actors.rollout.engine_options import SPECULATIVE
from cluster.config.recipe import Recipe
from cluster.planning.model_check import model_family

ENGINE_WITHOUT = ("quantization", "model_impl", "enable_dbo", *SPECULATIVE)
"""Engine options with which vLLM's adapters are not known to be exact."""


def adapters_alone(recipe: Recipe) -> bool:
    """Whether versions are adapters alone. Raises UserError: the model's folder says no family."""
    return recipe.learner.lora is not None and not _obstacle(recipe, recipe.learner.lora)


def remarks_on_adapters(recipe: Recipe) -> list[str]:
    """Which way is taken, and why, in one line; none without `learner.lora`. Raises as `adapters_alone`."""
    if recipe.learner.lora is None:
        return []
    why = _obstacle(recipe, recipe.learner.lora)
    if why:
        return [f"adapters travel to the engines merged into whole weights: {why}"]
    return ["adapters travel to the engines alone, which add them to the base weights"]


def _obstacle(recipe: Recipe, lora: Lora) -> str:
    """What keeps adapters from travelling alone; "" if nothing does."""
    rollout, learner = recipe.rollout, recipe.learner
    family = FAMILIES["qwen2_5_vl"] if recipe.model.tiny else model_family(recipe.model.folder, "model.path")
    merged = [part for part in lora.targets if part not in family.adapters_alone]
    if merged:
        return f"vLLM adds none in {' and '.join(merged)} for models of type {' or '.join(family.model_types)}"
    if lora.rank > max(RANKS):
        return f"vLLM adds adapters of rank {max(RANKS)} at most"
    if learner.dtype not in ("float32", rollout.dtype):
        return f"the learner rounds the base weights to {learner.dtype}, the engines would to {rollout.dtype}"
    options = [name for name in ENGINE_WITHOUT if name in rollout.engine]
    if options:
        return f"rollout.engine sets {options[0]}"
    return ""
