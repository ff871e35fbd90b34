"""Reinforcement learning: groups of responses, their verdicts, and the updates that these teach."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from actors.algorithm.advantage import has_signal
from actors.algorithm.config import GrpoTraining
from actors.algorithm.overlong import with_overlong_penalty
from actors.algorithm.teacher import teacher_of
from actors.learner.grpo_update import GrpoUpdate
from actors.learner.orders import FolderModels, UpdateResult
from actors.trajectory import ScoredGroup
from cluster.stages.dynamic_sampling import Replacing, without_flat
from cluster.stages.kind import StageKind, StepRun
from cluster.stages.response_metrics import response_numbers
from cluster.stages.row import StepRow
from curriculum.sampling.choice import Adaptive


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
    def adaptive(self) -> Adaptive | None:
        return Adaptive(self.name, self.group_size) if self.training.sampling == "adaptive" else None

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
        replacing = None
        if training.dynamic_sampling:
            replacing = Replacing(training.dynamic_sampling, lambda scored: not self.teaches(self._fined(run, scored)))
        scored = [self._fined(run, group) for group in run.score(run.generate(replacing))]
        sampling_numbers = run.observe(scored)
        kept = scored
        flat: list[ScoredGroup] = []
        if training.dynamic_sampling:
            kept, flat = without_flat(scored, lambda group: not self.teaches(group), run.min_groups)
        gated, gate_numbers = run.through_batch_gate([*kept, *flat])
        kept, flat = gated[: len(kept)], gated[len(kept) :]
        result = run.learn(GrpoUpdate(kept, training, run.lr, run.temperature))
        result.numbers.update(response_numbers([*kept, *flat], version) | gate_numbers | sampling_numbers)
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

    def teaches(self, scored: ScoredGroup) -> bool:
        return has_signal(scored.verdicts, self.training.credit, self.training.process_weight)

    def _fined(self, run: StepRun, scored: ScoredGroup) -> ScoredGroup:
        """A group with its verdicts, less the penalty for responses near the length limit."""
        training = self.training
        if not training.overlong:
            return scored
        verdicts = with_overlong_penalty(
            scored.verdicts,
            scored.group.trajectories,
            run.max_response_tokens,
            training.overlong,
            training.overlong_penalty,
        )
        return ScoredGroup(scored.group, verdicts)
