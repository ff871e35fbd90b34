"""A guard on what earlier stages taught: it looks at their measures at every evaluation, and acts if one has fallen."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.measures import Interval
from cluster.run.choice.floors import forgotten
from cluster.run.context import RunContext
from cluster.run.progress.summary import RunSummary
from cluster.run.recovery import MAX_ROLL_BACKS, Recovery
from cluster.stages import StageKind
from curriculum.stages import StageRecord

LEAST_SHARE = 0.1  # of rehearsal, where there was none or less before


class Forgetting:
    """Warns, rehearses more, or rolls back."""

    def __init__(self, context: RunContext, recovery: Recovery, summary: RunSummary) -> None:
        self.recipe, self.position = context.recipe, context.position
        self.curriculum, self.display = context.curriculum, context.display
        self.recovery, self.summary = recovery, summary

    def undo(self, stage: StageKind, record: StageRecord, changes: Mapping[str, Interval]) -> bool:
        """Acts on an evaluation. Returns whether the run went back to a commit.

        Args:
            changes: as in `forgotten`.
        """
        if stage.forget is None:
            return False
        fallen = forgotten(stage, changes)
        why = "; ".join(fallen.values())
        if fallen and stage.forget.do == "roll_back":
            return self._roll_back(stage, record, why)
        if stage.forget.do == "rehearse" and not record.reason:
            made_good = all(value >= -stage.forget.drop for value, _, _ in changes.values())
            did = self._rehearse(stage, bool(fallen), made_good)
        else:
            did = "nothing is done" if fallen else ""
        if did:
            self._note(stage, record, self.position.step, why or "no earlier stage has lost so much any more", did)
        return False

    def _rehearse(self, stage: StageKind, fallen: bool, made_good: bool) -> str:
        """Doubles the share of rehearsal, or halves it towards the recipe's. Returns what was done, in words."""
        assert stage.forget is not None
        planned = next(config for config in self.recipe.stages if config.name == stage.name)
        share = stage.rehearsal
        if fallen:
            share = max(share, min(stage.forget.up_to, max(2 * share, LEAST_SHARE)))
        elif made_good and share > planned.rehearsal:
            share = share / 2 if share / 2 > max(planned.rehearsal, LEAST_SHARE / 2) else planned.rehearsal
        if share == stage.rehearsal:
            return "rehearsal has its largest share already" if fallen else ""
        families = self.recipe.rehearsable(planned)
        self.curriculum.rehearse(stage.name, share, families if share else {})
        return f"rehearsal {stage.rehearsal:.0%} → {share:.0%}"

    def _roll_back(self, stage: StageKind, record: StageRecord, why: str) -> bool:
        step = self._step_before(stage, record)
        if self.recovery.roll_backs == MAX_ROLL_BACKS or step is None:
            often = f"the run was rolled back {MAX_ROLL_BACKS} times"
            reason = "no commit from before is kept" if step is None else often
            self._note(stage, record, self.position.step, why, f"nothing is done: {reason}")
            return False
        undone, events = self.position.step, self.summary.forgetting
        factor = self.recovery.lower_learning_rate()
        self.recovery.roll_back(why, step)
        self.summary.forgetting = events  # what was seen is no step that is undone
        did = f"back from step {undone} to step {step}, with the recipe's learning rate times {factor:g}"
        self._note(stage, record, undone, why, did)
        return True

    def _step_before(self, stage: StageKind, record: StageRecord) -> int | None:
        """The step of the best commit of the stage that had not lost so much, or of the newest one before the stage;
        None if neither is kept.
        """
        assert stage.forget is not None
        began = self.position.step - record.steps
        whole = [v for v in self.recovery.checkpoints.versions() if v.whole and v.step < self.position.step]
        sound = [
            version.validation
            for version in whole
            if version.validation
            and version.validation.stage == stage.name
            and not forgotten(stage, version.validation.lost)
        ]
        if sound:
            return max(sound, key=lambda validation: (validation.key, validation.step)).step
        return max((version.step for version in whole if version.step <= began), default=None)

    def _note(self, stage: StageKind, record: StageRecord, step: int, why: str, did: str) -> None:
        self.display.say(f"{why}: {did}")
        self.summary.forgetting.append(
            {"stage": stage.name, "step": step, "stage_step": record.steps, "why": why, "did": did}
        )
