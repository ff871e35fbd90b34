"""What a work pool hands out: batches of items, cut into shares, and the calls that carry them to a worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple

CallKind = Literal["start", "beat", "update", "work"]
SendShare = Callable[[Any, Sequence[Any]], Any]
"""Sends items to an actor. Returns a reference to a list with one result for each item, or a stream (Ray's
`ObjectRefGenerator`) of pairs as they come: the number of an item among those sent, and its result."""
Arrived = Callable[[Any], None]
"""Is called with each result of a batch that is no failure, as soon as it has come."""


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
        results: for each item, in order, what `send` returned for it, or `Failed`; None until it has come.
        missing: the numbers of the items whose results have not come.
    """

    def __init__(self, items: Sequence[Any], send: SendShare, arrived: Arrived | None = None) -> None:
        self.items = items
        self.send = send
        self.arrived = arrived
        self.results: list[Any] = [None] * len(items)
        self.missing = set(range(len(items)))

    @property
    def done(self) -> bool:
        return not self.missing

    def deliver(self, number: int, result: Any) -> None:
        """Stores the result of an item."""
        self.results[number] = result
        self.missing.discard(number)
        if self.arrived is not None and not isinstance(result, Failed):
            self.arrived(result)


@dataclass(frozen=True)
class Share:
    """A part of a batch.

    Attributes:
        numbers: of its items in the batch.
        limit_s: how long a worker may take.
        failures: how often its item failed, once it is down to one.
    """

    batch: Batch
    numbers: Sequence[int]
    limit_s: float
    failures: int = 0

    @property
    def items(self) -> list[Any]:
        return [self.batch.items[number] for number in self.numbers]

    def rest(self) -> Share:
        """What is left of it: the items whose results have not come."""
        return replace(self, numbers=[number for number in self.numbers if number in self.batch.missing])


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
