"""Reinforcement learning: groups of responses, their verdicts, and the updates that these teach."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from actors.algorithm.config import GrpoTraining
from actors.algorithm.overlong import with_overlong_penalty
from actors.algorithm.teacher import teacher_of
from actors.learner.grpo_update import GrpoUpdate
from actors.learner.orders import FolderModels, UpdateResult
from actors.trajectory import Group, ScoredGroup
from cluster.stages.dynamic_sampling import replace_flat_groups
from cluster.stages.kind import StageKind, StepRun
from cluster.stages.response_metrics import response_numbers
from cluster.stages.row import StepRow


class GrpoStage(StageKind):
    """Group-relative policy optimisation, in any of the algorithms of `GrpoTraining`."""

    kind: Literal["grpo"]
    training: GrpoTraining = GrpoTraining()

    label: ClassVar[str] = "reinforcement learning"
    generates: ClassVar[bool] = True

    @model_validator(mode="after")
    def _teachers_are_asked(self) -> GrpoStage:
        for teacher in self.training.teacher:
            unasked = next((family for family in teacher.families if family not in self.mixture), None)
            if unasked:
                raise ValueError(
                    f"training.teacher: {teacher.path} teaches {unasked!r}, which the stage does not ask; it asks "
                    f"{', '.join(self.mixture)}"
                )
            if all(teacher_of(family, self.training.teacher) is not teacher for family in self.mixture):
                raise ValueError(f"training.teacher: {teacher.path} teaches nothing: other teachers have all families")
        return self

    @property
    def tasks_per_step(self) -> int:
        return self.training.tasks_per_step

    @property
    def updates_per_step(self) -> int:
        return self.training.updates_per_step

    @property
    def group_size(self) -> int:
        return self.training.group_size

    @property
    def max_staleness(self) -> int:
        return self.training.max_staleness

    @property
    def needs_reference(self) -> bool:
        return self.training.kl > 0

    @property
    def keeps_reference(self) -> bool:
        return self.training.reference == "keep"

    @property
    def folder_models(self) -> FolderModels:
        teachers = tuple(teacher.folder for teacher in self.training.teacher)
        return FolderModels(self.training.reference_folder, teachers)

    @property
    def keeps_optimiser(self) -> bool:
        return self.training.optimiser == "keep"

    def step(self, run: StepRun) -> UpdateResult:
        """Generates, scores, replaces groups that teach nothing, learns, and books what became of each group."""
        training, version = self.training.within(run.max_response_tokens), run.version
        kept = self._scored(run, run.generate())
        flat: list[ScoredGroup] = []
        if training.dynamic_sampling:
            kept, flat = replace_flat_groups(
                kept, training, run.min_groups, lambda asked, missing: self._more(run, asked, missing)
            )
        gated, gate_numbers = run.through_batch_gate([*kept, *flat])
        kept, flat = gated[: len(kept)], gated[len(kept) :]
        result = run.learn(GrpoUpdate(kept, training, run.lr, run.temperature))
        result.numbers.update(response_numbers([*kept, *flat], version) | gate_numbers)
        if training.dynamic_sampling:
            result.numbers["dropped_groups"] = len(flat) / (len(kept) + len(flat))
        run.book(kept, flat)
        return result

    @staticmethod
    def headline(row: StepRow) -> str:
        taught = f"  teacher-kl {row['teacher_kl']:.3f}" if "teacher_kl" in row else ""
        return (
            f"reward {row['reward']:.3f}  outcome {row['outcome']:.3f}  format {row['format']:.2f}  "
            f"process {row['process']:.2f}  tokens {row['response_tokens']:.0f}  entropy {row['entropy']:.2f}  "
            f"kl {row['kl']:.3f}{taught}  logp-diff {row['logp_diff_max']:.0e}"
        )

    def _more(self, run: StepRun, asked: int, missing: int) -> list[ScoredGroup]:
        groups = run.generate_more(asked, missing)
        return self._scored(run, groups) if groups else []

    def _scored(self, run: StepRun, groups: list[Group]) -> list[ScoredGroup]:
        """Groups with their verdicts, less the penalty for responses near the length limit."""
        training, limit = self.training, run.max_response_tokens
        scored = run.score(groups)
        if not training.overlong:
            return scored
        return [
            ScoredGroup(
                s.group,
                with_overlong_penalty(
                    s.verdicts, s.group.trajectories, limit, training.overlong, training.overlong_penalty
                ),
            )
            for s in scored
        ]
