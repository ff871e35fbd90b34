"""What a writer of traces is: it is asked for traces of tasks, and gives drafts, which the verifier judges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from curriculum.task import Task


class Ask(NamedTuple):
    """A task whose trace is wanted, for the nth time (from 0)."""

    task: Task
    attempt: int


class Draft(NamedTuple):
    """What a writer gave for an ask: texts to choose from, or the reason why there are none.

    Attributes:
        task_id: of the task that was asked for.
        attempt: the number of the ask.
        texts: traces, as they came.
        fault: why there are none.
        is_final: whether asking again would give nothing else.
        is_answered: whether somebody answered. If not, the ask is not used up: a later run asks again.
    """

    task_id: str
    attempt: int
    texts: tuple[str, ...]
    fault: str = ""
    is_final: bool = False
    is_answered: bool = True


class TraceWriter(Protocol):
    """Writes traces.

    Attributes:
        name: on the command line and in the summary.
        settings: everything that its texts depend on, apart from the tasks. What was written with other settings is
            not continued.
        attempts: how often a task is asked for until a trace of it is accepted.
        runs_anywhere: whether `write` needs nothing but the asks, so that copies of the writer may share them out among
            processes.
        is_stopping: whether `stop` was called.
    """

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, object]: ...

    @property
    def attempts(self) -> int: ...

    @property
    def runs_anywhere(self) -> bool: ...

    @property
    def is_stopping(self) -> bool: ...

    def write(self, asks: Sequence[Ask]) -> Iterator[Draft]:
        """One draft for each ask, in any order, as soon as it is there."""

    def stop(self) -> None:
        """Begins nothing more: `write` ends once what is under way has come. Any thread may call it."""
