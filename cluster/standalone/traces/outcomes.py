"""What became of each task: its accepted traces, or why there are none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from curriculum.task import Task
from rewards.traces.diverse import pick_diverse
from rewards.traces.verifier import Check, VerifierConfig, verify
from rewards.traces.writer import Draft

NOT_ANSWERED = "no answer"
NOT_WRITTEN = "not written"


def check(task: Task, draft: Draft, config: VerifierConfig) -> list[Check]:
    """Verifies each text of a draft."""
    return [verify(task, text, config) for text in draft.texts]


class Rejected(NamedTuple):
    """A text that was not accepted, "" if there is none: the reason, and the reason in words."""

    text: str
    reason: str
    why: str


@dataclass
class Outcome:
    """What became of a task.

    Attributes:
        task: the task.
        attempts: how often it was asked for and somebody answered.
        is_final: whether asking again would give nothing else.
        accepted: the accepted traces, each with its check.
        rejected: all others, in the order of the attempts.
    """

    task: Task
    attempts: int = 0
    is_final: bool = False
    accepted: dict[str, Check] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)

    def add(self, draft: Draft, checks: Sequence[Check]) -> None:
        """Adds a draft with the check of each of its texts, from `check`."""
        if draft.is_answered:
            self.attempts = max(self.attempts, draft.attempt + 1)
        self.is_final = self.is_final or draft.is_final
        if draft.fault:
            reason = NOT_WRITTEN if draft.is_answered else NOT_ANSWERED
            self.rejected.append(Rejected("", reason, draft.fault))
        for text, check in zip(draft.texts, checks, strict=True):
            if check.is_accepted:
                self.accepted.setdefault(text, check)
            else:
                self.rejected.append(Rejected(text, check.reason, check.why))

    def wants_more(self, attempts: int, per_task: int) -> bool:
        """Whether the task should be asked for again."""
        return not self.is_final and self.attempts < attempts and len(self.accepted) < per_task

    def tasks(self, per_task: int) -> Iterable[Task]:
        """The task with each of the accepted traces that are chosen as its reference."""
        checks = list(self.accepted.values())
        picked = pick_diverse(list(self.accepted), [check.reward for check in checks], per_task)
        for number, text in enumerate(picked, 1):
            id = self.task.id if number == 1 else f"{self.task.id}-trace{number}"
            yield self.task.model_copy(update={"reference": text, "id": id})
