"""Supervised fine-tuning: the cold start on gold traces."""

from __future__ import annotations

from typing import ClassVar, Literal

from actors.algorithm.config import SftTraining
from actors.learner.orders import UpdateResult
from actors.learner.sft_update import SftUpdate
from cluster.stages.kind import StageKind, StepRun
from cluster.stages.row import StepRow


class SftStage(StageKind):
    """Next-token loss on the references of tasks."""

    kind: Literal["sft"]
    training: SftTraining = SftTraining()

    label: ClassVar[str] = "supervised"
    teaches_from_gold: ClassVar[bool] = True

    @property
    def tasks_per_step(self) -> int:
        return self.training.tasks_per_step

    def step(self, run: StepRun) -> UpdateResult:
        tasks = run.draw(self.tasks_per_step)
        return run.learn(SftUpdate(tasks, run.lr))

    @staticmethod
    def headline(row: StepRow) -> str:
        return f"loss {row['loss']:.3f}"
