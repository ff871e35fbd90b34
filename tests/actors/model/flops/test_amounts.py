"""Pairs of queries and keys, counted one by one in masks that are written out."""

from types import SimpleNamespace

import numpy as np
import pytest

from actors.model.flops.amounts import Amounts, causal_pairs, grid_pairs, of_images, of_layout, segment_pairs
from actors.model.packing import Segments, pack, pad
from actors.trajectory import Sample


def test_a_response_sees_its_prompt_and_itself_and_nothing_else():
    segments = Segments((5, 3, 4, 2, 6), (None, 0, 0, None, 3))
    mask = np.zeros((20, 20), bool)
    starts = [0, 5, 8, 12, 14]
    for start, length, prompt in zip(starts, segments.lengths, segments.prompts, strict=True):
        for token in range(start, start + length):
            mask[token, start : token + 1] = True
            if prompt is not None:
                mask[token, starts[prompt] : starts[prompt] + segments.lengths[prompt]] = True
    assert segment_pairs(segments) == mask.sum()


@pytest.mark.parametrize("window", [1, 4, 9, 20, None])
def test_a_window_bounds_what_a_token_sees(window):
    mask = np.tri(9, dtype=bool)
    if window:
        mask &= ~np.tri(9, k=-window, dtype=bool)
    assert causal_pairs(9, window=window) == mask.sum()


@pytest.mark.parametrize("height, width", [(8, 12), (16, 16), (4, 20)])
def test_patches_see_their_window_and_in_a_few_layers_the_whole_image(height, width):
    vision = SimpleNamespace(depth=4, fullatt_block_indexes=[1], window_size=112, patch_size=14)
    window = [(row // 8, column // 8) for row in range(height) for column in range(width)]
    windowed = sum(window.count(place) for place in window)
    assert grid_pairs(height, width, vision) == (3 * windowed + (height * width) ** 2) / 4
    assert grid_pairs(height, width, SimpleNamespace()) == (height * width) ** 2


def test_images_are_rows_of_patches_or_tiles():
    rows = {"image_grid_thw": np.array([[1, 4, 6]]), "pixel_values": np.zeros((24, 1176))}
    assert of_images([rows, rows], SimpleNamespace()) == (48, 2 * 24**2)
    tiles = {"pixel_values": np.zeros((1, 3, 3, 28, 56))}
    assert of_images([tiles], SimpleNamespace(patch_size=14)) == (3 * 8, 3 * 8**2)
    assert of_images([{"pixel_values": np.zeros((2, 5, 192))}], None) == (10, 2 * 5**2)
    assert of_images([], None) == (0, 0)


def test_padding_and_a_repeated_prompt_count_as_what_is_read():
    samples = [Sample(np.arange(6), (), np.arange(length)) for length in (3, 5)]
    positions = lambda sample: np.arange(len(sample.prompt_ids))[None]  # noqa: E731
    packed = of_layout(pack(samples, [0, 1], positions), [None, None], 7, 9.0)
    assert packed == Amounts(6 + 2 + 4, 21 + (2 * 6 + 3) + (4 * 6 + 10), 8, 7, 9.0)
    padded = of_layout(pad(samples, [0, 1], positions, 0), [None, 4])
    assert padded.tokens == 9 + 11 and padded.words == 8
    assert padded.pairs == (45 + 66 + causal_pairs(9, window=4) + causal_pairs(11, window=4)) / 2
