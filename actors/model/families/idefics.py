"""Idefics3 and SmolVLM: an image becomes tiles and, once more, a small copy of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.model.families.base import ImageSize, ModelFamily, ProcessorSettings, first_setting


def _tiles_a_side(settings: Mapping[str, Any]) -> int:
    return -(-settings["size"]["longest_edge"] // settings["max_image_size"]["longest_edge"])


def _largest_image(config: Any, settings: ProcessorSettings) -> ImageSize:
    tile = config.vision_config.image_size // config.vision_config.patch_size // config.scale_factor
    tiles = first_setting(settings, _tiles_a_side)
    return ImageSize(config.scale_factor**2, tiles and (tiles**2 + 1) * tile**2)


IDEFICS = ModelFamily(
    model_types=("idefics3", "smolvlm"),
    image_inputs={"pixel_values": 1, "pixel_attention_mask": 1},
    vision_modules=frozenset({"vision_model"}),
    projector_modules=frozenset({"connector"}),
    adapters_alone=frozenset({"vision", "projector", "language"}),
    largest_image=_largest_image,
)
