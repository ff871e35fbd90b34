"""Weights that ZeRO-3 has sharded, whole for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def gathered(parameters: Iterable[nn.Parameter], changed: bool = False) -> Iterator[None]:
    """Every rank takes part. Where they are `changed` meanwhile, rank 0's are what counts. Nothing happens to whole ones."""
    import deepspeed

    sharded = [p for p in parameters if hasattr(p, "ds_id")]
    with deepspeed.zero.GatheredParameters(sharded, modifier_rank=0 if changed else None, enabled=bool(sharded)):
        yield
