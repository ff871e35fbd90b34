"""Finds out, at each validation, whether the present version is one of the best of its stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cluster.measures import Scores
from cluster.record.checkpoint import Checkpoints, run_checkpoints
from cluster.record.validation import Validation, best_of_each_stage
from cluster.run.context import RunContext
from cluster.stages import StageKind
from curriculum.stages import StageRecord

Validate = Callable[[str], Scores]
"""Takes a measure that a gate may use; returns what the present weights score on the validation tasks of its form."""


class BestVersions:
    """Ranks the versions of each stage by their validation scores.

    Which ones were the best so far is read from the commits themselves. So it is right after a resume, after a
    roll-back, and where a commit could not be written.

    Attributes:
        validation: of the version that was validated last.
        is_best: whether that one is among the best of its stage, and worth a commit.
    """

    def __init__(self, context: RunContext) -> None:
        self.config, self.stages = context.recipe.checkpoint, context.recipe.stages
        self.position = context.position
        self.checkpoints: Checkpoints = run_checkpoints(context.recipe, context.writer.path)
        self.validation: Validation | None = None
        self.is_best = False
        self.ends: dict[str, list[list[float]]] = {}  # of each stage that ended: `Scores.statistics` of its measure

    def judge(self, stage: StageKind, record: StageRecord, validate: Validate) -> None:
        """Ranks the present version, which was just validated."""
        measure = self.config.best.measure or stage.gate.measure
        score = validate(measure).measures()[measure]
        validation = Validation(stage.name, self.position.step, record.steps, self.position.version, measure, score)
        keep, rivals = self.config.best.keep, [version.key for version in self._kept(stage.name)]
        free = len(rivals) < keep  # fewer are kept than may be
        may_be_best = free or (keep > 0 and validation.key >= rivals[-1])
        if may_be_best and self.config.export == "best" and stage is self.stages[-1]:
            validation = self._look_back(validation, validate)
        self.validation = validation
        self.is_best = free or (keep > 0 and validation.key > rivals[-1])

    def stage_ended(self, stage: StageKind, validate: Validate) -> None:
        """Notes what the stage's measure is at its end."""
        measure = stage.gate.measure
        self.ends[stage.name] = validate(measure).statistics(measure)

    def present(self) -> Validation | None:
        """The validation of the present version, if it was validated."""
        found = self.validation
        return found if found and (found.step, found.version) == (self.position.step, self.position.version) else None

    def state_dict(self) -> dict[str, Any]:
        return {"ends": self.ends}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.ends = dict(state.get("ends", {}))  # a commit of an earlier release has none
        self.validation, self.is_best = None, False

    def _kept(self, stage: str) -> list[Validation]:
        """The best versions of the stage so far, the best one first."""
        scored = [version.validation for version in self.checkpoints.versions() if version.validation]
        return best_of_each_stage([v for v in scored if v.stage == stage], self.config.best.keep)

    def _look_back(self, validation: Validation, validate: Validate) -> Validation:
        """Adds the stages whose measure is lower than at their end, beyond its paired interval."""
        lost = {}
        for stage in self.stages:
            if stage.name in self.ends and stage.name != validation.stage:
                measure = stage.gate.measure
                change = validate(measure).change(measure, self.ends[stage.name])
                if change[2] < 0:
                    lost[stage.name] = change
        return replace(validation, lost=lost)
