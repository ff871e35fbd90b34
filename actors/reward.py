"""Reward workers: stateless Ray actors; responses in, verdicts out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score
from rewards.verdict import Verdict


class RewardWorkersConfig(BaseModel):
    """How many workers score, and by which rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workers: PositiveInt = 1
    cpus: PositiveFloat = Field(0.25, description="what Ray reserves for one worker")
    timeout_s: PositiveFloat = 120
    rules: RewardConfig = RewardConfig()
    control: Literal["none", "random"] = Field(
        "none", description="random: a control experiment; training gets random rewards, evaluation true ones")


class RewardWorker:
    def __init__(self, rank: int, config: RewardWorkersConfig) -> None:
        self.rank, self.config = rank, config

    def __repr__(self) -> str:
        return f"reward-{self.rank}"

    def score(self, work: Sequence[tuple[Task, Sequence[tuple[str, bool]]]], evaluation: bool) -> list[list[Verdict]]:
        """For each task the verdicts of its responses, given as (text, truncated)."""
        verdicts = [[score(task, text, self.config.rules, truncated) for text, truncated in responses]
                    for task, responses in work]
        if self.config.control == "random" and not evaluation:
            verdicts = [[_random(v, f"{task.id}/{index}/{responses[index][0]}") for index, v in enumerate(group)]
                        for (task, responses), group in zip(work, verdicts, strict=True)]
        return verdicts


def _random(verdict: Verdict, key: str) -> Verdict:
    """The verdict with numbers that a hash of `key` gives, the same on every worker."""
    def number(name: object) -> float:
        return int.from_bytes(hashlib.sha256(f"{key}/{name}".encode()).digest()[:6], "big") / 2**48

    steps = tuple(replace(step, score=float(number(i) < 0.5)) for i, step in enumerate(verdict.steps))
    return replace(verdict, base=number("base"), total=number("base"), steps=steps, why=("random control",))
