"""How much one forward reads, in the units that FLOPs are counted by (`costs`). Pure functions on lengths and grids."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.model.packing import Layout, Segments

Window = int | None  # tokens that a layer's queries see at most; None for all


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a forward reads. Padding counts for nothing.

    Attributes:
        tokens: in the language layers.
        pairs: of a query and a key that it sees, in a language layer; the mean over the layers.
        words: response tokens, whose probabilities the output layer computes.
        patches: of images, in the vision tower.
        patch_pairs: as `pairs`, in a layer of the vision tower.
    """

    tokens: int = 0
    pairs: float = 0
    words: int = 0
    patches: int = 0
    patch_pairs: float = 0


def of_layout(layout: Layout, windows: Sequence[Window], patches: int = 0, patch_pairs: float = 0) -> Amounts:
    """What a forward of a layout reads.

    Args:
        windows: of each language layer that has attention.
        patches, patch_pairs: of its images.
    """
    words = len(layout.targets)
    if layout.segments is not None:
        return Amounts(sum(layout.segments.lengths), segment_pairs(layout.segments), words, patches, patch_pairs)
    assert layout.mask is not None  # what is not packed is padded
    lengths = layout.mask.sum(1).tolist()
    pairs = mean(sum(causal_pairs(length, window=window) for length in lengths) for window in windows)
    return Amounts(sum(lengths), pairs, words, patches, patch_pairs)


def segment_pairs(segments: Segments) -> int:
    """The pairs in a pack; its layers have no windows."""
    total = 0
    for length, prompt in zip(segments.lengths, segments.prompts, strict=True):
        total += causal_pairs(length, 0 if prompt is None else segments.lengths[prompt])
    return total


def causal_pairs(tokens: int, before: int = 0, window: Window = None) -> int:
    """Pairs of tokens that see themselves and what comes earlier: `before` tokens, and then their own.

    Args:
        window: how many each sees at most; only without tokens before.
    """
    if window is None or tokens <= window:
        return tokens * (tokens + 1) // 2 + tokens * before
    return window * (window + 1) // 2 + (tokens - window) * window


def of_images(images: Iterable[Mapping[str, np.ndarray]], vision: Any) -> tuple[int, float]:
    """(patches, pairs) of distinct images.

    Args:
        images: the `pixels` of each.
        vision: the configuration of the vision tower; None if the model has none.
    """
    patches, pairs = 0, 0.0
    for image in images:
        grid, pixels = image.get("image_grid_thw"), image["pixel_values"]
        if grid is not None:  # rows of patches, with their number by time, height and width
            times, height, width = (int(number) for number in grid[0])
            patches += times * height * width
            pairs += times * grid_pairs(height, width, vision)
            continue
        if pixels.ndim == 3:  # [tiles, patches, numbers]
            tiles, of_tile = pixels.shape[:2]
        else:  # [..., channels, height, width]
            *shape, _, height, width = pixels.shape
            down, across = pair_of(vision.patch_size)
            tiles, of_tile = math.prod(shape), (height // down) * (width // across)
        patches += tiles * of_tile
        pairs += tiles * of_tile**2
    return patches, pairs


def grid_pairs(height: int, width: int, vision: Any) -> float:
    """Pairs in an image of height × width patches, as a mean over the layers. Qwen2.5-VL's attend in windows except
    for a few.
    """
    whole = (height * width) ** 2
    full = getattr(vision, "fullatt_block_indexes", None)
    if full is None:
        return whole
    side = vision.window_size // vision.patch_size
    windowed = sum(n**2 for n in _cut(height, side)) * sum(n**2 for n in _cut(width, side))
    return mean(whole if layer in full else windowed for layer in range(vision.depth))


def _cut(length: int, side: int) -> list[int]:
    """The sides of the windows along a length; the last may be smaller."""
    return [min(side, length - start) for start in range(0, length, side)]


def pair_of(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
