"""Weights that ZeRO-3 has sharded, gathered for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby

from torch import Tensor, nn


@contextmanager
def gathered(parameters: Iterable[nn.Parameter], changed: bool = False) -> Iterator[None]:
    """Gathers sharded parameters inside the `with` block. Every rank must take part.

    Args:
        parameters: those that are not sharded are left as they are.
        changed: whether the block changes them; if so, the values of rank 0 are kept.
    """
    import deepspeed

    sharded = [p for p in parameters if hasattr(p, "ds_id")]
    with deepspeed.zero.GatheredParameters(sharded, modifier_rank=0 if changed else None, enabled=bool(sharded)):
        yield


def in_parts(
    weights: Mapping[str, Tensor], max_bytes: int, group_of: Callable[[str], str]
) -> Iterator[dict[str, Tensor]]:
    """Yields the weights in order, gathered, a part at a time. Every rank must take part.

    A part is valid until the next one is requested; then it is emptied.

    Args:
        weights: by name.
        max_bytes: of one part. A part is larger only if a single group is.
        group_of: names next to each other for which this gives the same value stay in one part.
    """
    groups = [list(names) for _, names in groupby(weights, group_of)]
    sizes = [sum(_bytes_of(weights[name]) for name in names) for names in groups]
    for selected in cut(sizes, max_bytes):
        names = [name for group in groups[selected] for name in group]
        with gathered(weights[name] for name in names):
            part = {name: weights[name].detach() for name in names}
            yield part
            part.clear()


def _bytes_of(weight: Tensor) -> int:
    """The size of a weight when it is gathered."""
    return weight.element_size() * getattr(weight, "ds_numel", weight.numel())


def cut(sizes: Sequence[int], max_sum: int) -> Iterator[slice]:
    """Slices of consecutive items whose sizes sum to at most `max_sum`, or of one item that is larger."""
    first = total = 0
    for index, size in enumerate(sizes):
        if index > first and total + size > max_sum:
            yield slice(first, index)
            first, total = index, 0
        total += size
    if sizes:
        yield slice(first, len(sizes))
