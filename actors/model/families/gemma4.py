"""Gemma 4, dense: an image keeps its shape and becomes up to a given number of tokens.

In the large models these attend to each other in both directions, in the layers of sliding windows alone. The small
ones also have a tower for sounds, an embedding for each layer, and layers that use the keys and values of others.
"""

from __future__ import annotations

from typing import Any

from actors.model.families.base import ImageSize, ModelFamily, ProcessorSettings, first_setting


def _causal_images(config: Any) -> bool:
    return config.get_text_config().use_bidirectional_attention != "vision"


def _largest_image(config: Any, settings: ProcessorSettings) -> ImageSize:
    patches = config.vision_config.pooling_kernel_size**2
    return ImageSize(patches, first_setting(settings, lambda found: found["max_soft_tokens"]))


GEMMA4 = ModelFamily(
    model_types=("gemma4",),
    image_inputs={"pixel_values": 0, "image_position_ids": 0},
    image_marks="mm_token_type_ids",
    causal_images=_causal_images,
    unread_modules=frozenset({"audio_tower", "embed_audio"}),
    unread_weights=True,  # keys and values of layers that use those of others
    suppresses=True,
    vision_modules=frozenset({"vision_tower"}),
    projector_modules=frozenset({"embed_vision"}),
    largest_image=_largest_image,
)
