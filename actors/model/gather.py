"""Weights that ZeRO-3 has sharded, whole for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, groupby

from torch import Tensor, nn


@contextmanager
def gathered(parameters: Iterable[nn.Parameter], changed: bool = False) -> Iterator[None]:
    """Every rank takes part. Where they are `changed` meanwhile, rank 0's are what counts. Nothing happens to whole ones."""
    import deepspeed

    sharded = [p for p in parameters if hasattr(p, "ds_id")]
    with deepspeed.zero.GatheredParameters(sharded, modifier_rank=0 if changed else None, enabled=bool(sharded)):
        yield


def in_parts(weights: Mapping[str, Tensor], most: int, together: Callable[[str], str]) -> Iterator[dict[str, Tensor]]:
    """The weights whole, where they are, in order: at a time at most `most` bytes, or more where neighbours whose names give the
    same by `together` have more.

    Every rank takes part. A part lasts until the next is asked for: it is empty then.
    """
    sizes = {
        name: weight.element_size() * getattr(weight, "ds_numel", weight.numel()) for name, weight in weights.items()
    }
    layers = [list(names) for _, names in groupby(weights, together)]
    for chosen in cut([sum(map(sizes.__getitem__, names)) for names in layers], most):
        names = list(chain.from_iterable(layers[chosen]))
        with gathered(weights[name] for name in names):
            part = {name: weights[name].detach() for name in names}
            yield part
            part.clear()


def cut(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Consecutive places whose sizes sum to at most `most`, or one place that is larger."""
    first = total = 0
    for place, size in enumerate(sizes):
        if place > first and total + size > most:
            yield slice(first, place)
            first, total = place, 0
        total += size
    if sizes:
        yield slice(first, len(sizes))
