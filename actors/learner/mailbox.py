"""The mailbox between the run and the learner's ranks: an actor that hands out orders and gathers the answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, NamedTuple


class PostedOrder(NamedTuple):
    """`order` is an object reference: only ranks read the order itself."""

    number: int
    name: str
    order: Any


@dataclass(frozen=True)
class Answer:
    """What a rank made of an order: its `value`, or the `error` in a line, and where it arose.

    `no_space`: the error is that a disk is full.
    """

    value: Any = None
    error: str | None = None
    trace: str = ""
    no_space: bool = False


class MailboxState(NamedTuple):
    """How the group of ranks is doing.

    Attributes:
        groups: how many groups have joined so far; the last one has `ranks` ranks.
        missing: ranks that have not answered the present order, with their nodes.
        answers: the answers to it so far, by rank.
        lost: ranks of the previous group that died, with the reason.
    """

    groups: int
    ranks: int
    missing: list[str]
    answers: dict[int, Answer]
    lost: list[str]


class Mailbox:
    """An asynchronous Ray actor; one order at a time.

    Ray Train restarts all ranks when one dies, or with fewer or more of them. Each time they join as a new group,
    which has a name of its own; an order that the previous group was given is over then.

    Args:
        ranks: how many are expected first.
    """

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self.number = 0
        self.posted: PostedOrder | None = None
        self.answers: dict[int, Answer] = {}
        self.group = ""
        self.joined: set[int] = set()
        self.groups = 0
        self.nodes: dict[int, str] = {}  # the address of each rank's node
        self.lost: dict[int, str] = {}  # ranks of this group that died, with the reason
        self.lost_before: dict[int, str] = {}  # of the previous group
        self.changed = asyncio.Condition()

    def __repr__(self) -> str:
        return "learner-desk"

    async def dispatch(self, name: str, order: list[Any], groups: int) -> list[Answer] | None:
        """Hands an order to all ranks and waits for their answers.

        Args:
            order: one object reference, in a list so that Ray does not replace it by the order itself.
            groups: how many groups the run knows of.

        Returns:
            The answers in order of rank, or None if a later group joins before all have answered.
        """
        async with self.changed:
            await self._all_joined()
            if self.groups > max(1, groups):
                return None
            self.number += 1
            self.posted = PostedOrder(self.number, name, order[0])
            self.answers = {}
            self.changed.notify_all()
            group = self.group
            await self.changed.wait_for(lambda: len(self.answers) == self.ranks or self.group != group)
            return [self.answers[rank] for rank in range(self.ranks)] if self.group == group else None

    async def join(self, rank: int, ranks: int, group: str, node: str) -> int:
        """Registers a rank that has started, one of `ranks`. Returns the number of the last order, which is not for
        it.
        """
        async with self.changed:
            if group != self.group:
                self.group, self.ranks = group, ranks
                self.joined = set()
                self.posted = None
                self.lost_before, self.lost = self.lost, {}
                self.groups += 1
            self.joined.add(rank)
            self.nodes[rank] = node
            self.changed.notify_all()
            return self.number

    async def wait_until_joined(self) -> None:
        """Returns once all ranks of the present group have joined."""
        async with self.changed:
            await self._all_joined()

    async def take(self, done: int) -> PostedOrder | None:
        """The order after number `done`, or None if none comes within ten seconds."""
        async with self.changed:
            try:
                next_order = self.changed.wait_for(lambda: self.posted is not None and self.number > done)
                await asyncio.wait_for(next_order, 10)
            except TimeoutError:
                return None
            return self.posted

    async def answer(self, rank: int, number: int, group: str, answer: Answer) -> None:
        """Takes a rank's answer; one to an earlier order, or from an earlier group, is dropped."""
        async with self.changed:
            if number == self.number and group == self.group:
                self.answers[rank] = answer
                self.changed.notify_all()

    async def report_dead(self, faults: dict[int, str]) -> None:
        """Takes from Ray Train which ranks died, with the reason."""
        self.lost |= {rank: f"learner rank {self._located(rank)}: {reason}" for rank, reason in faults.items()}

    async def state(self) -> MailboxState:
        missing = [self._located(rank) for rank in range(self.ranks) if rank not in self.answers]
        return MailboxState(self.groups, self.ranks, missing, self.answers, list(self.lost_before.values()))

    async def _all_joined(self) -> None:
        await self.changed.wait_for(lambda: len(self.joined) == self.ranks)

    def _located(self, rank: int) -> str:
        return f"{rank} on {self.nodes.get(rank, 'an unknown node')}"
