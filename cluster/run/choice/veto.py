"""A source whose validation tasks decide nothing but a veto: another hospital, where no version may lose too much."""

from __future__ import annotations

from cluster.measures import Interval
from cluster.measures.headlines import measure_words
from cluster.run.choice.validation_answers import ValidationAnswers
from cluster.run.context import RunContext
from cluster.run.evaluation import vetoing_tasks
from cluster.run.publishing import Publisher
from cluster.stages import StageKind


class Veto:
    """Compares a version with the model that reinforcement learning began with; in a run without it, with the first.

    Both answer the validation tasks of the source. The measure is the one that ranks the versions of the last stage.

    Attributes:
        before: what that model scored, as `Scores.statistics`; None before it was asked.
    """

    def __init__(self, context: RunContext, publisher: Publisher) -> None:
        best, stages = context.recipe.checkpoint.best, context.recipe.stages
        assert best.veto is not None
        self.source, self.max_loss, self.display = best.veto.source, best.veto.max_loss, context.display
        self.measure, self.families = best.ranked_by(stages[-1].gate)
        self.first = next((stage.name for stage in stages if stage.generates), stages[0].name)
        tasks = vetoing_tasks(context.recipe, context.tasks["val"])
        self.answers = ValidationAnswers(context, publisher, tasks)
        self.before: list[list[float]] | None = None

    def stage_opens(self, stage: StageKind) -> None:
        """Asks the present version, if the stage is the one before which versions are compared with it."""
        if stage.name == self.first:
            self.answers.clear()
            self.before = self.answers.scores(self.measure, self.families).statistics(self.measure)

    def judge(self) -> dict[str, Interval]:
        """Asks the present version. Returns how its score changed, by the source, if that is a veto; else nothing."""
        if self.before is None:
            self.display.say(
                f"source {self.source} cannot veto: checkpoint.best.veto was set after stage {self.first} had begun"
            )
            return {}
        self.answers.clear()
        change = self.answers.scores(self.measure, self.families).change(self.measure, self.before)
        return {self.source: change} if change[2] < -self.max_loss else {}

    def words(self, change: Interval) -> str:
        """Why a version is vetoed."""
        value, low, high = change
        return (
            f"source {self.source} vetoes it: validation {measure_words(self.measure)} there fell by {-value:.3f} "
            f"[{-high:.3f}, {-low:.3f}] since stage {self.first} began, more than {self.max_loss:g}"
        )
