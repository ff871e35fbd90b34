"""The update of reinforcement learning: what the run orders. What a rank does with it is in `grpo_step`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actors.algorithm.config import GrpoTraining
from actors.learner.orders import UpdateOrder, UpdateResult
from actors.trajectory import ScoredGroup

if TYPE_CHECKING:
    from actors.learner.rank import DeepSpeedRank


@dataclass(frozen=True)
class GrpoUpdate(UpdateOrder):
    """`updates_per_step` updates on scored groups, whose advantages are taken among all groups of the step."""

    groups: Sequence[ScoredGroup]
    training: GrpoTraining
    lr: float
    temperature: float
    name: ClassVar[str] = "grpo"

    def run(self, rank: DeepSpeedRank) -> UpdateResult:
        from actors.learner.grpo_step import GrpoStep  # it imports torch

        return GrpoStep(rank, self.groups, self.training, self.lr, self.temperature).run()
