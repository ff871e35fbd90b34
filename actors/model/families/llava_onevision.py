"""LLaVA-OneVision: an image is read as a whole and in tiles, in the grid that fits it best."""

from __future__ import annotations

import math
from typing import Any

from actors.model.families.base import ImageSize, ModelFamily, ProcessorSettings


def _tokens(side: int, rows: int, columns: int) -> int:
    """Tokens of an image in `rows` × `columns` tiles of `side` × `side` tokens (transformers' `pack_image_features`).

    First the whole image, then the tiles row by row, with one token at the end of each row; coarser from 9 tiles on.
    """
    ratio = math.sqrt(rows * columns / 9)
    ratio = ratio if ratio > 1.1 else 1
    return side**2 + int(side * rows // ratio) * (int(side * columns // ratio) + 1)


def _largest_image(config: Any, settings: ProcessorSettings) -> ImageSize:
    tile = config.vision_config.image_size
    side = tile // config.vision_config.patch_size
    tokens = [_tokens(side, height // tile, width // tile) for height, width in config.image_grid_pinpoints]
    return ImageSize(1, max(tokens))


LLAVA_ONEVISION = ModelFamily(
    model_types=("llava_onevision",),
    image_inputs={"pixel_values": 1, "image_sizes": 0},
    flat_tiles=True,
    vision_modules=frozenset({"vision_tower"}),
    projector_modules=frozenset({"multi_modal_projector", "image_newline"}),
    largest_image=_largest_image,
)
