"""The run: tasks in, a trained model out. `Run.train` and `Run._advance` are the loop; other files are its parts."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from actors.learner.handle import LearnerRestarted
from cluster.config.guards import Guards
from cluster.config.recipe import Recipe
from cluster.control.run_actor import Control
from cluster.record.console import Display
from cluster.record.run_writer import RunWriter
from cluster.run.choice.final_model import FinalModel
from cluster.run.choice.forgetting import Forgetting
from cluster.run.context import new_context
from cluster.run.in_flight import InFlight
from cluster.run.prepare import Prepared
from cluster.run.profiling import Profiling
from cluster.run.progress.step_log import Progress
from cluster.run.progress.summary import RunSummary
from cluster.run.publishing import Publisher
from cluster.run.recovery import Recovery
from cluster.run.requests import Requests
from cluster.run.stage_tests import StageTests
from cluster.run.step_guards import StepGuards
from cluster.run.steps import Steps
from cluster.run.workers import Workers


class Run:
    """One run, on workers that are up. If the learner dies, everything goes back to the last commit."""

    def __init__(
        self,
        recipe: Recipe,
        prepared: Prepared,
        writer: RunWriter,
        workers: Workers,
        display: Display,
        control: Control,
    ) -> None:
        self.context = context = new_context(recipe, prepared.tasks, workers, writer, display)
        self.position, self.curriculum, self.ledger = context.position, context.curriculum, context.ledger
        self.phases, self.learner, self.writer = context.phases, workers.learner, writer
        in_flight, guards = InFlight(context), Guards(recipe.guards)
        publisher = Publisher(context)
        self.summary = RunSummary(context)
        self.progress = Progress(context, publisher, self.summary)
        self.steps = Steps(context, in_flight, publisher)
        self.tests = StageTests(context, publisher, self.progress, self.summary)
        self.recovery = Recovery(
            context, in_flight, self.steps, self.tests, guards, publisher, self.progress, self.summary
        )
        self.profiling = Profiling(context)
        self.requests = Requests(context, control, self.progress, self.recovery, self.profiling)
        self.forgetting = Forgetting(context, self.recovery, self.summary)
        self.final_model = FinalModel(context, self.recovery, self.tests, publisher, self.summary)
        self.guards = StepGuards(context, guards, self.recovery, self.requests)

    def train(self) -> dict[str, Any]:
        """Walks through the curriculum to its end and exports the model, or commits where it was asked to stop.

        Returns:
            The summary, as in summary.json.

        Raises:
            RemoteFailure: a worker failed or did not answer.
        """
        self.requests.restore_scale()
        self.tests.show_baseline()
        restart: LearnerRestarted | None = None
        with _rare_garbage_collection():
            while True:
                try:
                    if restart:
                        error, restart = restart, None
                        self.recovery.roll_back(str(error))
                        self.guards.reset()
                    while not self.curriculum.finished and not self.requests.stopping:
                        self._advance()
                        self.requests.handle()
                    return self._finish()
                except LearnerRestarted as error:
                    restart = error

    def _advance(self) -> None:
        """One step, and what is due after it: guards, an evaluation, the end of the stage, a commit."""
        stage, record = self.curriculum.stage, self.curriculum.record
        if record.steps == 0:
            self.progress.open(stage)
            self.steps.open(stage)
            self.tests.open(stage, record)
        result = stage.step(self.steps)  # generate, score, learn: cluster/stages has a file for each kind
        self.position.step += 1
        self.curriculum.step_done()
        self.ledger.check()
        row = self.progress.log(stage, record, result)
        if self.guards.undo(row, result):
            return
        stage_ended = self.tests.stage_ended(stage, record)
        if self.tests.evaluated and self.forgetting.undo(stage, record, self.tests.versions.changes):
            self.guards.reset()
            return
        if stage_ended:
            self.steps.close()
            self.tests.close(stage, record)
        self.recovery.commit_if_due(stage_ended, grow=not self.requests.stopping)

    def _finish(self) -> dict[str, Any]:
        self.profiling.end()
        if self.requests.stopping:
            self.recovery.commit(grow=False)
            return self.summary.write("stopped")
        self.final_model.write()
        return self.summary.write("finished")

    def abandon(self) -> None:
        """Drops what is not written yet: the run's folder is another process's."""
        self.ledger.abandon()
        self.context.timeline.abandon()

    def close(self) -> None:
        """Closes the files of the run's folder."""
        self.writer.close()
        self.ledger.close()
        self.context.timeline.close()


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Python looks for garbage less often, and not among what was imported: that took a third of a busy run's time."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
