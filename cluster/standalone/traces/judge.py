"""Drafts of traces with their checks, written and verified here or, part by part, on a cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from cluster.standalone.traces.outcomes import check
from curriculum.sets.mapped import Spread
from curriculum.task import Task
from rewards.traces.verifier import Check, VerifierConfig
from rewards.traces.writer import Ask, Draft, TraceWriter

PART = 64  # asks, or drafts, that a process gets at once: a second's work or less
PARTS_AT_ONCE = 1000  # of which all are in memory


class Judged(NamedTuple):
    """A draft, and the check of each of its texts."""

    draft: Draft
    checks: list[Check]


class Judge:
    """Asks a writer and verifies what it gives.

    Args:
        writer: who is asked.
        config: what a trace must reach.
        spread: who verifies, and who writes if the writer `runs_anywhere`.
        keep: is given each new draft as soon as it is there, before it is verified.
    """

    def __init__(
        self, writer: TraceWriter, config: VerifierConfig, spread: Spread, keep: Callable[[Draft], None]
    ) -> None:
        self.writer, self.config, self.spread, self.keep = writer, config, spread, keep

    def check(self, drafts: Iterable[tuple[Task, Draft]]) -> Iterator[Judged]:
        """The checks of drafts that are there, in their order."""
        return self._in_parts(partial(_check, self.config), drafts)

    def write(self, asks: Sequence[Ask]) -> Iterator[Judged]:
        """What the writer gives for each ask, verified. It ends early if the writer is stopped.

        Raises:
            Refused: as the writer.
        """
        if self.writer.runs_anywhere:
            for judged in self._in_parts(partial(_write, self.writer, self.config), asks):
                self.keep(judged.draft)
                yield judged
            return
        tasks = {ask.task.id: ask.task for ask in asks}
        waiting: deque[tuple[Draft, Future[list[Check]]]] = deque()
        with ThreadPoolExecutor(1) as verifier:  # an answer that was paid for is kept although others are verified
            for draft in self.writer.write(asks):
                self.keep(draft)
                waiting.append((draft, verifier.submit(check, tasks[draft.task_id], draft, self.config)))
                while waiting and waiting[0][1].done():
                    yield _judged(*waiting.popleft())
            while waiting:
                yield _judged(*waiting.popleft())

    def _in_parts(self, function: Any, items: Iterable[Any]) -> Iterator[Judged]:
        rest = iter(items)
        while parts := [part for _ in range(PARTS_AT_ONCE) if (part := list(islice(rest, PART)))]:
            for judged in self.spread(function, parts):
                yield from judged
                if self.writer.is_stopping:
                    return


def _judged(draft: Draft, checks: Future[list[Check]]) -> Judged:
    return Judged(draft, checks.result())


def _check(config: VerifierConfig, drafts: Sequence[tuple[Task, Draft]]) -> list[Judged]:
    return [Judged(draft, check(task, draft, config)) for task, draft in drafts]


def _write(writer: TraceWriter, config: VerifierConfig, asks: Sequence[Ask]) -> list[Judged]:
    tasks = {ask.task.id: ask.task for ask in asks}
    return _check(config, [(tasks[draft.task_id], draft) for draft in writer.write(asks)])
