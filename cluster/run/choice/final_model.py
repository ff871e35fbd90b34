"""The model that a run leaves in model/: the best version of its last stage, or the last one."""

from __future__ import annotations

from actors.learner.orders import Export, Load
from cluster.record.checkpoint import CheckpointError, KeptVersion
from cluster.record.validation import Validation
from cluster.run.context import RunContext
from cluster.run.progress.summary import RunSummary
from cluster.run.publishing import Publisher
from cluster.run.recovery import Recovery
from cluster.run.stage_tests import StageTests


class FinalModel:
    """Chooses the version and writes its folder, once the curriculum has ended."""

    def __init__(
        self, context: RunContext, recovery: Recovery, tests: StageTests, publisher: Publisher, summary: RunSummary
    ) -> None:
        self.config = context.recipe.checkpoint
        self.learner, self.writer, self.display = context.workers.learner, context.writer, context.display
        self.position, self.curriculum, self.phases = context.position, context.curriculum, context.phases
        self.recovery, self.tests, self.publisher, self.summary = recovery, tests, publisher, summary

    def write(self) -> None:
        """Writes model/. Where it holds an earlier version, that one is tested: the test at the end is not its own.

        Raises:
            RemoteFailure: a worker failed.
        """
        self.recovery.prune()
        best = self._best() if self.config.export == "best" else None
        chosen = best.validation if best else None
        present = self.tests.versions.present()  # it may lack a commit, as on a full disk
        if best and best.step == self.position.step:
            present = chosen
        if best is None or chosen is None or (present and present.key >= chosen.key):
            self._export("last", self.position.step, self._why_last(present))
            return
        last_version = self.position.version
        self.publisher.free_gpus()
        with self.phases.phase("export"):
            self.learner.call(Load(best.folder))
        self.position.lineage += 1  # no engine may take these weights for those of another version
        self.position.version = chosen.version
        self.publisher.withdraw()
        self.tests.reset()
        self.tests.test_model(self.curriculum.stages[-1], self.curriculum.records[-1])
        self._export("best", best.step, f"the best of stage {chosen.stage} by {chosen.words}")
        self.position.version = last_version

    def _best(self) -> KeptVersion | None:
        """The best version of the last stage that is sound; None if none is kept whole."""
        stage = self.curriculum.stages[-1].name
        versions = [v for v in self.recovery.checkpoints.versions() if v.whole]
        ranked = [(v.validation.key, v.step, v) for v in versions if v.validation and v.validation.stage == stage]
        for _, step, version in sorted(ranked, key=lambda entry: entry[:2], reverse=True):
            try:
                if step != self.position.step:  # else its weights are the learner's
                    self.recovery.checkpoints.load(version.folder)
            except CheckpointError as error:
                self.display.say(f"model/ cannot hold step {step}: {error}")
                continue
            return version
        return None

    def _why_last(self, present: Validation | None) -> str:
        if self.config.export == "last":
            return "the last version (checkpoint.export: last)"
        if present:
            return f"the last version, and the best of stage {present.stage} by {present.words}"
        return "the last version; no commit of the last stage was validated"

    def _export(self, export: str, step: int, why: str) -> None:
        with self.phases.phase("export"):
            self.learner.call(Export(self.writer.path / "model"))
        self.summary.model = {"holds": export, "step": step, "version": self.position.version, "why": why}
        self.display.say(f"model/ holds step {step}: {why}")
