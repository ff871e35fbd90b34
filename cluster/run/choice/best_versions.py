"""Finds out, at each validation, whether the present version is one of the best of its stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cluster.measures import Interval
from cluster.record.checkpoint import Checkpoints, run_checkpoints
from cluster.record.validation import Validation, best_of_each_stage
from cluster.run.choice.validation_answers import ValidationAnswers
from cluster.run.choice.veto import Veto
from cluster.run.context import RunContext
from cluster.stages import StageKind
from curriculum.stages import StageRecord


class BestVersions:
    """Ranks the versions of each stage by their validation scores.

    Which ones were the best so far is read from the commits themselves. So it is right after a resume, after a
    roll-back, and where a commit could not be written.

    Args:
        veto: of another source, if the recipe has one.

    Attributes:
        validation: of the version that was validated last.
        is_best: whether that one is among the best of its stage, and worth a commit.
        changes: how the measures of earlier stages changed since their ends, if that was looked at.
    """

    def __init__(self, context: RunContext, veto: Veto | None = None) -> None:
        self.config, self.stages, self.veto = context.recipe.checkpoint, context.recipe.stages, veto
        self.position = context.position
        self.checkpoints: Checkpoints = run_checkpoints(context.recipe, context.writer.path)
        self.validation: Validation | None = None
        self.is_best = False
        self.changes: dict[str, Interval] = {}
        self.ends: dict[str, list[list[float]]] = {}  # of each stage that ended: `Scores.statistics` of its measure

    def judge(self, stage: StageKind, record: StageRecord, answers: ValidationAnswers) -> None:
        """Ranks the present version, which was just validated."""
        measure, families = self.config.best.ranked_by(stage.gate)
        score = answers.scores(measure, families).measures()[measure]
        validation = Validation(stage.name, self.position.step, record.steps, self.position.version, measure, score)
        keep, rivals = self.config.best.keep, [version.key for version in self._kept(stage.name)]
        free = len(rivals) < keep  # fewer are kept than may be
        may_be_best = free or (keep > 0 and validation.key >= rivals[-1])
        may_be_exported = may_be_best and self.config.export == "best" and stage.name == self.stages[-1].name
        self.changes = self._look_back(stage.name, answers) if stage.forget or may_be_exported else {}
        lost = {name: change for name, change in self.changes.items() if change[2] < 0}
        vetoed = self.veto.judge() if self.veto and may_be_exported else {}
        self.validation = replace(validation, lost=lost, vetoed=vetoed)
        self.is_best = free or (keep > 0 and self.validation.key > rivals[-1])

    def stage_ended(self, stage: StageKind, answers: ValidationAnswers) -> None:
        """Notes what the stage's measure is at its end."""
        measure = stage.gate.measure
        self.ends[stage.name] = answers.scores(measure, stage.gate.families).statistics(measure)

    def present(self) -> Validation | None:
        """The validation of the present version, if it was validated."""
        found = self.validation
        return found if found and (found.step, found.version) == (self.position.step, self.position.version) else None

    def state_dict(self) -> dict[str, Any]:
        return {"ends": self.ends, **({"veto": self.veto.before} if self.veto else {})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.ends = dict(state.get("ends", {}))  # a commit of an earlier release has none
        if self.veto:
            self.veto.before = state.get("veto")
        self.validation, self.is_best, self.changes = None, False, {}

    def _kept(self, stage: str) -> list[Validation]:
        """The best versions of the stage so far, the best one first."""
        scored = [version.validation for version in self.checkpoints.versions() if version.validation]
        return best_of_each_stage([v for v in scored if v.stage == stage], self.config.best.keep)

    def _look_back(self, present: str, answers: ValidationAnswers) -> dict[str, Interval]:
        """How the measures of earlier stages changed since their ends."""
        changes = {}
        for stage in self.stages:
            if stage.name in self.ends and stage.name != present:
                measure = stage.gate.measure
                scores = answers.scores(measure, stage.gate.families)
                changes[stage.name] = scores.change(measure, self.ends[stage.name])
        return changes
