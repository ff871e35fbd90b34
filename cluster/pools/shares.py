"""What a work pool hands out: batches of items, cut into shares; and what it asks of a worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple


@dataclass(frozen=True)
class Failed:
    """In place of a result: no worker could do this item, and why."""

    why: str


class WorkSpan(NamedTuple):
    """A worker had `items` for `seconds`, from `began` on (by `time.monotonic`)."""

    worker: str
    began: float
    seconds: float
    items: int


class Batch:
    """Items that were handed in together. `results` are in their order: what the call gave for each, or `Failed`."""

    def __init__(self, items: Sequence[Any], call: Callable[[Any, Sequence[Any]], Any]) -> None:
        self.call = call
        self.results: list[Any] = [None] * len(items)
        self.left = len(items)

    @property
    def done(self) -> bool:
        return self.left == 0

    def settle(self, first: int, results: Sequence[Any]) -> None:
        self.results[first : first + len(results)] = results
        self.left -= len(results)


@dataclass
class Share:
    """A part of a batch: items `first` and following, how long a worker may take over them, how often one item failed."""

    batch: Batch
    first: int
    items: Sequence[Any]
    seconds: float
    failures: int = 0


@dataclass
class Call:
    """What a worker was asked for: to start, a sign of life, to hold a version, or a share. The first two have no limit of
    their own: `Health.tick` ends them."""

    what: Literal["start", "beat", "update", "work"]
    since: float
    seconds: float = math.inf
    share: Share | None = None
    version: Any = None


def cut(items: Sequence[Any], count: int) -> list[Sequence[Any]]:
    """`items` cut into `count` contiguous parts whose sizes differ by one at most."""
    edges = [len(items) * i // count for i in range(count + 1)]
    return [items[a:b] for a, b in zip(edges, edges[1:], strict=False)]
