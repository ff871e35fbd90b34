"""Scores of held-out tasks: validation for a stage's gate, tests where a stage starts and ends."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.measures import Result, Scores
from cluster.measures.headlines import HEADLINES
from cluster.run.choice.best_versions import BestVersions
from cluster.run.choice.floors import below_floors, forgotten
from cluster.run.choice.validation_answers import ValidationAnswers
from cluster.run.choice.veto import Veto
from cluster.run.context import RunContext
from cluster.run.evaluation import answer, answer_by_view, deciding_tasks
from cluster.run.progress.step_log import Progress
from cluster.run.progress.summary import RunSummary, flat
from cluster.run.publishing import Publisher
from cluster.stages import StageKind
from curriculum.stages import StageRecord
from curriculum.task import Task


class StageTests:
    """Evaluates the present weights, and keeps what each version scored.

    Attributes:
        versions: which versions are the best by validation.
        evaluated: whether the gate was evaluated after the newest step.
    """

    def __init__(self, context: RunContext, publisher: Publisher, progress: Progress, summary: RunSummary) -> None:
        self.recipe, self.tasks, self.workers = context.recipe, context.tasks, context.workers
        self.writer, self.position, self.curriculum = context.writer, context.position, context.curriculum
        self.phases, self.display = context.phases, context.display
        self.publisher, self.progress, self.summary = publisher, progress, summary
        self.test_tasks = context.test_tasks
        self.answers = ValidationAnswers(context, publisher, deciding_tasks(self.recipe, self.tasks["val"]))
        self.veto = Veto(context, publisher) if self.recipe.checkpoint.best.veto else None
        self.versions = BestVersions(context, self.veto)
        self.evaluated = False
        self.scores: dict[int, Scores] = {}  # of the test tasks, by version
        by_view = answer_by_view(self.tasks["train"], self.test_tasks, self.recipe.reward.rules)
        summary.baseline = self._scores(by_view).measures() if by_view else None

    def show_baseline(self) -> None:
        if self.summary.baseline:
            self.display.evaluation("baseline", "that sees only the view", self.summary.baseline)

    def open(self, stage: StageKind, record: StageRecord) -> None:
        """The test at a stage's start."""
        self._test(stage, record, "start")
        if self.veto:
            self.veto.stage_opens(stage)

    def test_model(self, stage: StageKind, record: StageRecord) -> None:
        """The test of the version that model/ holds, where that is an earlier one."""
        self._test(stage, record, "model")

    def stage_ended(self, stage: StageKind, record: StageRecord) -> bool:
        """Evaluates the stage's gate if that is due, and says whether the stage ends by it."""
        self.evaluated = self.curriculum.evaluation_due
        if not self.evaluated:
            return False
        gate = stage.gate
        self.answers.clear()
        measures = self.answers.scores(gate.measure, gate.families).measures()
        self.progress.log_measures(stage, record, "val", measures)
        self.versions.judge(stage, record, self.answers)
        self._tell_veto(stage, record)
        held_back = [*below_floors(gate, self.answers), *forgotten(stage, self.versions.changes).values()]
        ended = self.curriculum.observe(measures[gate.measure][0], held_back) is not None
        if ended:
            self.versions.stage_ended(stage, self.answers)
        elif gate.threshold is not None and measures[gate.measure][0] >= gate.threshold and held_back:
            self.display.say(f"stage {stage.name} reached its threshold and goes on: {'; '.join(held_back)}")
        return ended

    def _tell_veto(self, stage: StageKind, record: StageRecord) -> None:
        """Notes that the present version is vetoed, if it is."""
        validation = self.versions.validation
        for change in validation.vetoed.values() if validation else ():
            assert self.veto is not None
            why = self.veto.words(change)
            self.display.say(f"step {self.position.step} ({stage.name} {record.steps}): {why}")
            self.summary.vetoes.append(
                {"stage": stage.name, "step": self.position.step, "stage_step": record.steps, "why": why}
            )

    def close(self, stage: StageKind, record: StageRecord) -> None:
        """The test at a stage's end, and what the stage gained."""
        evaluation = self.summary.evaluations[stage.name]
        before = self._scores_of(evaluation["start"]["version"])
        gain = self._test(stage, record, "end").gain_over(before)
        evaluation["gain"] = flat(gain)
        words = ", ".join(
            f"{name} {value:+.3f} [{low:+.3f}, {high:+.3f}]"
            for name, (value, low, high) in gain.items()
            if name in HEADLINES
        )
        self.display.say(f"stage {stage.name} ends after {record.steps} steps by {record.reason}: {words}")

    def reset(self) -> None:
        """Forgets scores: versions get other weights after the learner went back to a commit."""
        self.scores.clear()
        self.answers.clear()

    def _test(self, stage: StageKind, record: StageRecord, when: str) -> Scores:
        """Scores the test tasks, once for each version of the weights."""
        version = self.position.version
        if version not in self.scores:
            self.publisher.publish()
            with self.phases.phase("evaluate"):
                results = self._answer(self.test_tasks)
            self.writer.add_evaluation(
                {"stage": stage.name, "when": when, "step": self.position.step, "version": version}, results
            )
            self.scores[version] = self._scores(results)
        scores = self.scores[version]
        measures = scores.measures()
        self.summary.evaluations[stage.name][when] = flat(measures) | {"version": version}
        self.progress.log_measures(stage, record, f"test {when}", measures)
        return scores

    def _scores_of(self, version: int) -> Scores:
        if version not in self.scores:  # tested in an earlier session
            self.scores[version] = self._scores(self.writer.read_evaluation(version, self.test_tasks))
        return self.scores[version]

    def _answer(self, tasks: Sequence[Task]) -> list[Result]:
        return answer(tasks, self.workers.rollouts, self.workers.rewards)

    def _scores(self, results: Sequence[Result]) -> Scores:
        return Scores(results, self.recipe.evaluation.bootstrap, sources=self.recipe.data.sources is not None)
