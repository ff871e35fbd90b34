"""Reward workers: stateless Ray actors; responses in, verdicts out."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import ray
from pydantic import Field, PositiveFloat, PositiveInt

from curriculum.strict import Strict
from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score
from rewards.verdict import Verdict


class RewardWorkersConfig(Strict):
    """How many workers score, and by which rules."""

    workers: PositiveInt = 1
    cpus: PositiveFloat = Field(0.25, description="what Ray reserves for one worker")
    timeout_s: PositiveFloat = Field(
        120,
        description="for a worker's share of a batch; a worker that exceeds it is replaced, and "
        "its share is tried again in halves, each with half the time",
    )
    response_timeout_s: PositiveFloat = Field(
        5, description="for a single response, after all halving; beyond it the response is recorded as not scored"
    )
    rules: RewardConfig = RewardConfig()
    control: Literal["none", "random"] = Field(
        "none",
        description="random: a control experiment, in which training gets random rewards and evaluation true ones",
    )


@dataclass(frozen=True, slots=True)
class Response:
    """One response to score: number `index` of its group."""

    task: Task
    index: int
    text: str
    truncated: bool


class RewardWorker:
    """Scores responses by the recipe's rules. It keeps no state between calls.

    Args:
        path: a folder that is searched for the modules of the recipe's own rules, in addition to installed packages.
    """

    def __init__(self, rank: int, config: RewardWorkersConfig, path: str) -> None:
        self.rank = rank
        self.config = config
        if path not in sys.path:
            sys.path.append(path)

    def __repr__(self) -> str:
        return f"reward-{self.rank}"

    def ready(self) -> str:
        """Returns the id of its node, once the worker is up."""
        return ray.get_runtime_context().get_node_id()

    def score(self, responses: Sequence[Response], evaluation: bool) -> list[Verdict]:
        """The verdict on each response, in order."""
        verdicts = [score(r.task, r.text, self.config.rules, r.truncated) for r in responses]
        if self.config.control == "random" and not evaluation:
            pairs = zip(responses, verdicts, strict=True)
            verdicts = [_randomised(verdict, f"{r.task.id}/{r.index}/{r.text}") for r, verdict in pairs]
        return verdicts


def _randomised(verdict: Verdict, key: str) -> Verdict:
    """The verdict with random scores. They come from a hash of `key`, so every worker gives the same."""

    def number(name: object) -> float:
        return int.from_bytes(hashlib.sha256(f"{key}/{name}".encode()).digest()[:6], "big") / 2**48

    steps = tuple(step._replace(score=float(number(i) < 0.5)) for i, step in enumerate(verdict.steps))
    return verdict._replace(base=number("base"), total=number("base"), steps=steps, why=("random control",))
