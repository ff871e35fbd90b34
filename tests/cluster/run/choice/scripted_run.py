"""Whole runs whose scores are a script: the loop, the curriculum, commits and the run folder are real, the workers not.

A run takes a second. What version a commit holds is all that its weights say.
"""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from actors.learner.orders import Export, Load, UpdateResult
from actors.runtime.storage import POLICY
from cluster.config.recipe_file import load_recipe
from cluster.measures import Result
from cluster.record.checkpoint import Checkpoints
from cluster.record.run_writer import RunWriter
from cluster.run.loop import Run
from cluster.run.prepare import Prepared
from rewards.config import RewardConfig
from rewards.score import score
from tests.support.short_run import SMOKE

STAGES = (
    "stages=[{name: first, kind: sft, tasks: {binary: 1, single_choice: 1}, "
    "gate: {measure: closed_accuracy, families: [binary], every: 2, max_steps: 8}}, "
    "{name: second, kind: sft, tasks: {single_choice: 1}, "
    "gate: {measure: closed_accuracy, families: [single_choice], every: 2, max_steps: 10}}]"
)
SETTINGS = [STAGES, "evaluation={val_per_family: 20, test_per_family: 20}", "checkpoint.every_minutes=100"]


class Learner:
    """Counts updates."""

    ranks = 1

    def __init__(self):
        self.version, self.rates = 0, []

    def call(self, order):
        if isinstance(order, Load):
            self.version = int((Path(order.storage.path) / POLICY).read_bytes())
        if isinstance(order, Export):
            order.folder.mkdir(exist_ok=True)
            (order.folder / "version").write_text(str(self.version))

    def update(self, order, films=()):
        self.version += 1
        self.rates.append(order.lr)
        return UpdateResult({"loss": 1.0, "tokens": 10.0, "grad_norm": 1.0, "skipped": 0.0}, [])

    def save(self, folder):
        with folder.workspace() as part:
            (part / POLICY).write_text(str(self.version))
            (part / "optimiser.pt").write_bytes(b"moments")
            return folder.take_in(part)

    def publish(self, *_):
        return SimpleNamespace(events=[], bytes=1, reached=0)

    def grow(self):
        pass

    def finish(self, wait=True):
        pass


class ScriptedRun:
    """Args:
        tasks: by split, at least 20 of each family that is asked.
        right: takes a family and a version; returns how many of the family's first tasks that version answers right.
        elsewhere: as `right`, of the tasks of the source `away`.

    Attributes:
        asked_elsewhere: the versions that were asked tasks of the source `away`.
    """

    def __init__(self, path, tasks, right, patch, settings=(), elsewhere=None):
        self.path, self.tasks, self.said, self.asked_elsewhere = path, tasks, [], []
        self.right, self.elsewhere = right, elsewhere
        self.recipe = load_recipe(SMOKE, [*SETTINGS, *settings])
        self.learner = Learner()
        patch.setattr("cluster.run.stage_tests.answer", self._answer)
        patch.setattr("cluster.run.choice.validation_answers.answer", self._answer)

    def train(self, resumed=False):
        """The summary of the run; with `resumed` it goes on from its newest commit."""
        self.learner.version = 0
        display = SimpleNamespace(
            say=self.said.append, step=lambda row: None, evaluation=lambda *_: None, close=lambda: None
        )
        prepared = Prepared(self.tasks, self.path, Counter())
        control = SimpleNamespace(sync=lambda status: [])
        run = Run(self.recipe, prepared, RunWriter(self.path), self._workers(), display, control)
        commits = run.recovery.checkpoints.committed() if resumed else []
        if commits:
            run.recovery.restore(commits[-1], run.recovery.checkpoints.load(commits[-1]))
        try:
            return run.train()
        finally:
            run.close()

    @property
    def model(self):
        """The version that model/ holds."""
        return int((self.path / "model" / "version").read_text())

    def _answer(self, tasks, rollouts, rewards):
        asked, results = Counter(), []
        for task in tasks:
            asked[task.source, task.family] += 1
            right = self.elsewhere if task.source == "away" else self.right
            is_right = asked[task.source, task.family] <= right(task.family, self.learner.version)
            wrong = "E" if task.form == "letters" else "Hernia"
            text = f"<think>t</think><answer>{', '.join(task.gold) if is_right else wrong}</answer>"
            results.append(Result(task, text, score(task, text, RewardConfig())))
        if any(source == "away" for source, _ in asked):
            self.asked_elsewhere.append(self.learner.version)
        return results

    def _workers(self):
        pool = SimpleNamespace(
            kind="rollout",
            deaths=0,
            pump=lambda seconds: None,
            states=dict,
            take_events=list,
            take_spans=list,
        )
        rollouts = SimpleNamespace(
            pool=pool,
            begin_update=lambda *_, **__: None,
            wait_until_current=lambda *_: None,
            cancel_version=lambda: None,
            discard_all=lambda: None,
        )
        return SimpleNamespace(
            learner=self.learner,
            rollouts=rollouts,
            rewards=SimpleNamespace(pump=lambda: None, discard_all=lambda: None),
            pools=(pool, pool),
            rollout_size=1,
            rollout_use=lambda: (0, 0, 0),
            events=list,
            spans=dict,
            pump=lambda: None,
            states=dict,
        )


class Killed(BaseException):
    """Stands for SIGKILL."""


def kill(run, commit):
    """Trains until so many commits were made, and dies."""
    prune, calls = Checkpoints.prune, []

    def die(self):
        calls.append(self)
        if len(calls) == commit:
            raise Killed
        return prune(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "prune", die)
        with pytest.raises(Killed):
            run.train()
