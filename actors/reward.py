"""Reward workers: stateless Ray actors; responses in, verdicts out."""

from __future__ import annotations

from collections.abc import Sequence

from curriculum.task import Task
from rewards.score import RewardConfig, score
from rewards.verdict import Verdict


class RewardWorker:
    def __init__(self, rank: int, config: RewardConfig) -> None:
        self.rank, self.config = rank, config

    def __repr__(self) -> str:
        return f"reward-{self.rank}"

    def score(self, work: Sequence[tuple[Task, Sequence[tuple[str, bool]]]]) -> list[list[Verdict]]:
        """For each task the verdicts of its responses, given as (text, truncated)."""
        return [[score(task, text, self.config, truncated) for text, truncated in responses] for task, responses in work]
