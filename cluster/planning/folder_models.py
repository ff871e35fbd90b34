"""How large the models of other folders are that stages read beside the policy: teachers and references."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from cluster.config.recipe import ModelConfig, Recipe
from cluster.errors import UserError
from cluster.planning.model_shape import ModelShape, shape_of
from cluster.stages import StageKind


def shapes_of(recipe: Recipe, stage: StageKind) -> list[ModelShape]:
    """The shapes of the models of other folders that a stage reads. One that cannot be read is left out: `model_check`
    says what is wrong with it.
    """
    shapes = []
    for folder in map(Path, stage.folder_models.folders):
        described = folder / "config.json"
        written = described.stat().st_mtime_ns if described.is_file() else 0
        with suppress(UserError):
            shapes.append(_shape(folder, recipe.model.min_pixels, recipe.model.max_pixels, written))
    return shapes


@lru_cache(maxsize=32)
def _shape(folder: Path, min_pixels: Any, max_pixels: Any, _: int) -> ModelShape:
    """Advice tries many recipes; the files are read once."""
    return shape_of(ModelConfig(path=folder, min_pixels=min_pixels, max_pixels=max_pixels))
