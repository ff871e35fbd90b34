"""Commits of a run, and the way back to one."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from actors.learner.handle import DiskFull
from actors.learner.orders import FolderModels, Load
from actors.runtime.remote import RemoteFailure
from actors.runtime.storage import Storage
from cluster.config.guards import Guards
from cluster.planning.footprint import footprint
from cluster.record.checkpoint import MANIFEST, CheckpointError, Checkpoints, KeptVersion, run_checkpoints
from cluster.record.ledger import Ledger
from cluster.run.context import RunContext
from cluster.run.in_flight import InFlight
from cluster.run.progress.step_log import Progress
from cluster.run.progress.summary import RunSummary
from cluster.run.publishing import Publisher
from cluster.run.stage_tests import StageTests
from cluster.run.steps import Steps

MAX_ROLL_BACKS = 3  # by guards
COMMIT_SHARE = 9  # commits take at most a tenth of the time: as many seconds of work as this times one commit's


class Recovery:
    """Commits the run, and restores it.

    Attributes:
        checkpoints: the commits.
        first_state: the state before the first step.
        roll_backs: how often a guard sent the run back; each divides the learning rate by ten.
        commit_bytes: what a commit takes, estimated.
        confirm_owner: raises LeaseLost if the run is another process's by now; called before a commit begins, and
            before it counts.
    """

    def __init__(
        self,
        context: RunContext,
        in_flight: InFlight,
        steps: Steps,
        tests: StageTests,
        guards: Guards,
        publisher: Publisher,
        progress: Progress,
        summary: RunSummary,
    ) -> None:
        self.every_s = 60 * context.recipe.checkpoint.every_minutes
        self.tasks = context.tasks["train"]
        self.learner, self.writer, self.phases = context.workers.learner, context.writer, context.phases
        self.position, self.curriculum, self.sampler = context.position, context.curriculum, context.sampler
        self.ledger, self.display = context.ledger, context.display
        self.in_flight, self.steps, self.tests, self.guards = in_flight, steps, tests, guards
        self.publisher, self.progress, self.summary = publisher, progress, summary
        self.checkpoints: Checkpoints = run_checkpoints(context.recipe, self.writer.path)
        self.commit_bytes = footprint(context.recipe).commit
        self.roll_backs = 0
        self.confirm_owner: Callable[[], None] = lambda: None
        self.committed = time.monotonic()
        self._commit_s = 0.0  # what the last commit took
        self._committed_step: int | None = None  # of the last commit
        self.first_state = copy.deepcopy(self._state()) | {"ledger": Ledger.EMPTY}

    def commit_if_due(self, stage_ended: bool, grow: bool) -> None:
        """Commits after a stage, and a version that is one of the best of its stage; and when enough time has passed,
        unless a guard is alarmed. `grow`: as in `commit`.
        """
        waited = time.monotonic() - self.committed
        due = waited > max(self.every_s, COMMIT_SHARE * self._commit_s)
        is_best = self.tests.versions.is_best and self.tests.versions.present() is not None
        if stage_ended or is_best or (due and not self.guards.alarmed):
            self.commit(grow)

    def commit(self, grow: bool) -> None:
        """Commits the learner and the rest of the run; skipped with a line if the disk has no room.

        A commit of this step that is there already is left as it is: no kill can cost a version that is to be kept.

        Args:
            grow: let more learner ranks join now, if there is room for them: nothing is lost by their restart.
        """
        if self._committed_step == self.position.step:
            self.display.say(f"step {self.position.step} is committed already")
            return
        began = self.committed = time.monotonic()
        missing = self.checkpoints.missing_space(self.commit_bytes)
        if not missing:
            try:
                with self.phases.phase("commit"):
                    self._write_commit(grow)
            except DiskFull as error:  # something else filled it meanwhile
                missing = str(error)
        if missing:
            self.display.say(f"no checkpoint is written, {self.checkpoints.newest_words()}: {missing}")
            return
        self.committed = time.monotonic()
        self._commit_s = self.committed - began

    def _write_commit(self, grow: bool) -> None:
        self.confirm_owner()
        folder = self.checkpoints.begin(self.position.step)
        try:
            digests = self.learner.save(folder)
            self.writer.flush()
            self.confirm_owner()
            stage = self.curriculum.stages[min(self.curriculum.position, len(self.curriculum.stages) - 1)]
            validation = self.tests.versions.present()
            self._kept(self.checkpoints.commit(folder, digests, self._state(), stage.name, validation))
        except (RemoteFailure, OSError):
            with suppress(OSError):
                if not folder.has(MANIFEST):
                    folder.remove()  # what is written of it takes space that may be missing
            raise
        self._committed_step = self.position.step
        if grow and not self.curriculum.finished:
            self.learner.grow()

    def restore(self, commit: Storage | None, state: Mapping[str, Any]) -> None:
        """Goes on from a commit, whose state `Checkpoints.load` gave; without one from the start, by `first_state`.

        Raises:
            ValueError: it is of other stages or tasks.
        """
        state = copy.deepcopy(dict(state))
        self.in_flight.discard()
        self.curriculum.load_state_dict(state["curriculum"])
        self.sampler.load_state_dict(state["sampler"])
        self.steps.gate.load_state_dict(state["gate"])
        self.ledger.load_state_dict(state["ledger"])
        self.position.step, self.position.version = state["step"], state["version"]
        self._count_roll_backs(max(self.roll_backs, state["roll_backs"]))
        self.guards.reset()
        self.summary.evaluations, self.summary.largest = state["evaluations"], state["worst"]
        self.phases.restart(state["phases"], state["seconds"])
        self.progress.restart()
        self.tests.reset()
        self.tests.versions.load_state_dict(state.get("versions", {}))
        self.summary.forgetting, self.summary.vetoes = state.get("forgetting", []), state.get("vetoes", [])
        self.committed = time.monotonic()
        self._committed_step = self.position.step if commit else None
        self._kept(self.checkpoints.versions())
        self.writer.drop_after(self.position.step if commit else -1)
        if commit:
            self.learner.call(Load(commit, self._folder_models()))
        if state["in_flight"]:
            self.publisher.publish()
            self.in_flight.load_state_dict(state["in_flight"], self.tasks)

    def _folder_models(self) -> FolderModels:
        """Those of a stage that goes on; one that begins brings its own."""
        if self.curriculum.finished or self.curriculum.record.steps == 0:
            return FolderModels()
        return self.curriculum.stage.folder_models

    def roll_back(self, why: str, before: int | None = None) -> None:
        """Goes on from the last commit, or from the last one that is not after the step `before`.

        Without any commit the run goes on from the start.

        Raises:
            RemoteFailure: no commit from before that step is kept.
        """
        lost, seconds = self.position.step, self.phases.total()
        self.position.lineage += 1
        self.publisher.withdraw()
        self.publisher.free_gpus()
        commit, state = self._newest_commit(before)
        if commit is None and before is not None:
            raise RemoteFailure(f"{why}; no commit from before is kept (checkpoint.keep)")
        if before is not None:
            self._drop_undone(state["step"])
        self.restore(commit, state)
        self.phases.seconds_before = seconds  # what was lost took its time, too
        self.display.say(f"{why}; {lost - self.position.step} steps are made again, from step {self.position.step}")

    def lower_learning_rate(self) -> float:
        """Counts a roll-back by a guard. Returns the factor on the recipe's learning rates from here on."""
        self._count_roll_backs(self.roll_backs + 1)
        return self.steps.lr_factor

    def _count_roll_backs(self, roll_backs: int) -> None:
        self.roll_backs = roll_backs
        self.steps.lr_factor = 0.1**roll_backs

    def prune(self) -> None:
        """Removes commits that a process which died left too many of."""
        self._kept(self.checkpoints.prune())

    def _kept(self, versions: Sequence[KeptVersion]) -> None:
        self.summary.kept = [version.validation for version in versions if version.validation]

    def _drop_undone(self, step: int) -> None:
        """Removes the commits of steps that are undone: a resumed run would go on from them."""
        for version in self.checkpoints.drop_after(step):
            score = f", {version.validation.words}," if version.validation else ""
            self.display.say(f"the commit {version.folder.name}{score} is of steps that are undone, and is removed")

    def _newest_commit(self, before: int | None) -> tuple[Storage | None, Mapping[str, Any]]:
        """The newest sound commit whose step is at most `before`, and its state."""
        for folder in reversed(self.checkpoints.committed()):
            try:
                state = self.checkpoints.load(folder)
            except CheckpointError as error:
                self.display.say(str(error))
                continue
            if before is None or state["step"] <= before:
                return folder, state
        return None, self.first_state

    def _state(self) -> dict[str, Any]:
        """What a commit holds beside the learner's own part; plain values, for JSON."""
        return {
            "step": self.position.step,
            "version": self.position.version,
            "curriculum": self.curriculum.state_dict(),
            "sampler": self.sampler.state_dict(),
            "gate": self.steps.gate.state_dict(),
            "versions": self.tests.versions.state_dict(),
            "forgetting": self.summary.forgetting,
            "vetoes": self.summary.vetoes,
            "ledger": self.ledger.state_dict(),
            "roll_backs": self.roll_backs,
            "in_flight": self.in_flight.state_dict(),
            "evaluations": self.summary.evaluations,
            "worst": self.summary.largest,
            "phases": self.phases.seconds,
            "seconds": self.phases.total(),
        }
