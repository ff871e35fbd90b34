"""A held-out task with its answer."""

from __future__ import annotations

from dataclasses import dataclass

from curriculum.task import Task
from rewards.reading.parser import TAG, parse
from rewards.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Result:
    """One held-out task, one response and its verdict."""

    task: Task
    text: str
    verdict: Verdict

    @property
    def final(self) -> str:
        """What the last closed answer block says; "" where there is none. A response without any tag is all answer."""
        pairs = parse(self.text).pairs
        if pairs:
            return pairs[-1].answer.strip()
        return "" if TAG.search(self.text) else self.text.strip()
