"""What a work pool hands out: batches of items, cut into shares, and the calls that carry them to a worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

CallKind = Literal["start", "beat", "update", "work"]
SendShare = Callable[[Any, Sequence[Any]], Any]
"""Sends items to an actor; its reference yields one result for each item."""


@dataclass(frozen=True)
class Failed:
    """In place of a result: no worker could do this item, and why."""

    why: str


class WorkSpan(NamedTuple):
    """A worker had `items` for `seconds`, starting at `began` (by `time.monotonic`)."""

    worker: str
    began: float
    seconds: float
    items: int


class Batch:
    """Items that were submitted together.

    Attributes:
        results: for each item, in order, what `send` returned for it, or `Failed`.
    """

    def __init__(self, items: Sequence[Any], send: SendShare) -> None:
        self.send = send
        self.results: list[Any] = [None] * len(items)
        self.missing = len(items)

    @property
    def done(self) -> bool:
        return self.missing == 0

    def deliver(self, first: int, results: Sequence[Any]) -> None:
        """Stores the results of item `first` and those that follow it."""
        self.results[first : first + len(results)] = results
        self.missing -= len(results)


@dataclass
class Share:
    """A contiguous part of a batch.

    Attributes:
        first: the index of its first item in the batch.
        limit_s: how long a worker may take.
        failures: how often its item failed, once it is down to one.
    """

    batch: Batch
    first: int
    items: Sequence[Any]
    limit_s: float
    failures: int = 0


@dataclass
class Call:
    """A call that a worker has not answered yet: to start, to show that it is alive, to take a version, or to do a
    share.

    The first two kinds have no limit of their own: `Health.tick` ends them.
    """

    kind: CallKind
    since: float
    limit_s: float = math.inf
    share: Share | None = None
    version: Any = None


def cut(items: Sequence[Any], count: int) -> list[Sequence[Any]]:
    """`items` cut into `count` contiguous parts whose sizes differ by at most one."""
    edges = [len(items) * i // count for i in range(count + 1)]
    return [items[start:end] for start, end in pairwise(edges)]
