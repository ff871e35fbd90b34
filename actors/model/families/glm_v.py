"""GLM-4.1V and GLM-4.6V-Flash: images as in Qwen2-VL, by a tower whose positions are interpolated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from actors.model.families.base import ImageSize, ProcessorSettings, first_setting
from actors.model.families.qwen_vl import QWEN_VL
from curriculum.taskset import Size

FRAMES = 2  # of a patch; an image stands for as many, and each counts in the processor's `size`


def _largest_image(config: Any, settings: ProcessorSettings) -> ImageSize:
    merged = config.vision_config.spatial_merge_size
    side = config.vision_config.patch_size * merged
    pixels = first_setting(settings, lambda found: found.get("max_pixels") or found["size"]["longest_edge"] // FRAMES)
    return ImageSize(merged**2, pixels and int(pixels) // side**2)


def _scaled_size(images: Any, size: Size) -> Size:
    from transformers.models.glm4v.image_processing_glm4v import smart_resize

    least, most = images.size["shortest_edge"], images.size["longest_edge"]
    side = images.patch_size * images.merge_size
    height, width = smart_resize(FRAMES, size[1], size[0], FRAMES, side, least, most)
    return width, height


GLM_V = replace(
    QWEN_VL,
    model_types=("glm4v",),
    counted_frames=FRAMES,
    vision_mlp="out_hidden_size",
    scaled_size=_scaled_size,
    adapters_alone=frozenset({"language"}),
    largest_image=_largest_image,
)
