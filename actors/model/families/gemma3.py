"""Gemma 3: every image becomes the same number of tokens, which attend to each other in both directions."""

from __future__ import annotations

from typing import Any

from actors.model.families.base import ImageSize, ModelFamily, ProcessorSettings


def _largest_image(config: Any, settings: ProcessorSettings) -> ImageSize:
    side = config.vision_config.image_size // config.vision_config.patch_size
    return ImageSize(side**2 // config.mm_tokens_per_image, config.mm_tokens_per_image)


GEMMA3 = ModelFamily(
    model_types=("gemma3",),
    image_inputs={"pixel_values": 0},
    image_marks="token_type_ids",
    vision_modules=frozenset({"vision_tower"}),
    projector_modules=frozenset({"multi_modal_projector"}),
    adapters_alone=frozenset({"language"}),
    largest_image=_largest_image,
)
