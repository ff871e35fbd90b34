"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: as many tokens as an image has pixels for, positions by row and column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.model.families.base import ImageSize, ModelFamily, ProcessorSettings, first_setting
from curriculum.taskset import Size


def _most_pixels(settings: Mapping[str, Any]) -> int | None:
    return settings.get("max_pixels") or (settings.get("size") or {}).get("longest_edge")


def _largest_image(config: Any, settings: ProcessorSettings) -> ImageSize:
    merged = config.vision_config.spatial_merge_size
    side = config.vision_config.patch_size * merged
    pixels = first_setting(settings, _most_pixels)
    return ImageSize(merged**2, pixels and int(pixels) // side**2)


def _scaled_size(images: Any, size: Size) -> Size:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    least, most = images.size["shortest_edge"], images.size["longest_edge"]
    height, width = smart_resize(size[1], size[0], images.patch_size * images.merge_size, least, most)
    return width, height


QWEN_VL = ModelFamily(
    model_types=("qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
    image_inputs={"pixel_values": 0, "image_grid_thw": 0},
    windowed_tower="visual",
    has_pixel_budget=True,
    vision_modules=frozenset({"visual"}),
    projector_modules=frozenset({"merger", "deepstack_merger_list"}),
    scaled_size=_scaled_size,
    adapters_alone=frozenset({"vision", "projector", "language"}),
    largest_image=_largest_image,
)
