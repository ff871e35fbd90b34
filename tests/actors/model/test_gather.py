from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.model.gather import cut, in_parts


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 60))
def test_slices_cover_everything_within_the_limit_and_no_slice_ends_early(sizes, limit):
    parts = [sizes[part] for part in cut(sizes, limit)]
    assert [size for part in parts for size in part] == sizes
    assert all(sum(part) <= limit or len(part) == 1 for part in parts)
    assert all(sum(part) + following[0] > limit for part, following in pairwise(parts))


def test_neighbours_of_one_group_stay_in_one_part():
    names = ["embedding", "layer.0.a", "layer.0.b", "layer.1.a", "layer.1.b", "head"]
    weights = {name: torch.full((4,), float(n)) for n, name in enumerate(names)}  # 16 bytes each
    parts = []
    for part in in_parts(weights, 40, lambda name: name.rpartition(".")[0] or name):
        parts.append(list(part))
        assert all(value is not weights[name] and value.equal(weights[name]) for name, value in part.items())
    assert parts == [["embedding"], ["layer.0.a", "layer.0.b"], ["layer.1.a", "layer.1.b"], ["head"]]
    alone = [list(part) for part in in_parts(weights, 1, str)]
    assert alone == [[name] for name in names]


def test_a_part_is_emptied_when_the_next_one_is_requested():
    weights = {name: torch.zeros(4) for name in "ab"}
    parts = in_parts(weights, 16, str)
    first = next(parts)
    assert list(first) == ["a"]
    assert list(next(parts)) == ["b"] and not first
