"""InternVL 3 and 3.5 in transformers' own form: an image becomes square tiles and, after them, a copy of the whole."""

from __future__ import annotations

from typing import Any

from actors.model.families.base import ImageSize, ModelFamily, ProcessorSettings, first_setting


def _largest_image(config: Any, settings: ProcessorSettings) -> ImageSize:
    merged = round(1 / config.downsample_ratio)
    side = config.vision_config.image_size[0] // config.vision_config.patch_size[0] // merged
    tiles = first_setting(settings, lambda found: found["max_patches"])
    return ImageSize(merged**2, tiles and (tiles + (tiles > 1)) * side**2)


INTERNVL = ModelFamily(
    model_types=("internvl",),
    image_inputs={"pixel_values": 0},
    vision_modules=frozenset({"vision_tower"}),
    projector_modules=frozenset({"multi_modal_projector"}),
    adapters_alone=frozenset({"language"}),
    largest_image=_largest_image,
)
