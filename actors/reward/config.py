"""The reward section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from curriculum.strict import Strict
from rewards.config import OwnRule, RewardConfig


class RewardWorkersConfig(Strict):
    """How many workers score, and by which rules."""

    workers: PositiveInt = 1
    cpus: PositiveFloat = Field(0.25, description="what Ray reserves for one worker")
    timeout_s: PositiveFloat = Field(
        120,
        description="for a worker's share of a batch; a worker that exceeds it is replaced, and "
        "its share is tried again in halves, each with half the time. Own rules that wait have limits of their own",
    )
    response_timeout_s: PositiveFloat = Field(
        5, description="for a single response, after all halving; beyond it the response is recorded as not scored"
    )
    rules: RewardConfig = RewardConfig()
    control: Literal["none", "random"] = Field(
        "none",
        description="random: a control experiment, in which training gets random rewards and evaluation true ones",
    )

    @property
    def rules_with_workers(self) -> dict[str, OwnRule]:
        """The own rules that have workers of their own, by name."""
        return {name: own for name, own in self.rules.own.items() if own.own_workers}
