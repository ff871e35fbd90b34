"""The run: tasks in, a trained model out. `Run.train` reads from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from actors.advantage import token_advantages
from actors.trajectory import Request, ScoredGroup, sampling_seed
from curriculum.sampler import Sampler
from curriculum.stages import GATE_FORMS, Curriculum, StageRecord
from rewards.gate import BatchGate
from rewards.verdict import NOT_SCORED

from .checkpoint import Checkpoints
from .display import HEADLINES, Display
from .evaluation import answer, answer_by_view, held_out
from .ledger import Ledger
from .measures import Interval, Scores
from .prepare import Prepared
from .recipe import GrpoStage, Recipe, SftStage, Stage
from .run_folder import RunFolder
from .workers import Workers

STEP_PHASES = ("generate", "score", "learn", "publish")  # what a step consists of; the rest is evaluation and commits
PROBE_TASKS = 2  # a worker proves with so many that it holds a version


class Run:
    """One run, on workers that stand.

    `step` counts the updates' steps of the whole run; `version` counts the updates of the weights.
    """

    def __init__(self, recipe: Recipe, prepared: Prepared, folder: RunFolder, workers: Workers, display: Display) -> None:
        self.recipe, self.tasks, self.folder, self.workers, self.display = recipe, prepared.tasks, folder, workers, display
        self.curriculum = Curriculum(recipe.stages)
        self.sampler = Sampler(self.tasks["train"], recipe.seed)
        self.gate = BatchGate()
        self.ledger = Ledger(folder.path / "ledger.jsonl")
        self.checkpoints = Checkpoints(folder.path / "checkpoints", recipe.checkpoint.keep)
        self.step = self.version = 0
        self.published = -1
        self.evaluations: dict[str, dict[str, Any]] = {stage.name: {} for stage in recipe.stages}
        self.worst = {"logp_diff_max": 0.0, "ratio_diff_max": 0.0}
        self.phases: dict[str, float] = {}  # seconds by what they were spent on
        self._phases_before: dict[str, float] = {}  # as they stood at the last step
        self._pace: float | None = None  # seconds of a step, smoothed
        self.seconds_before = 0.0  # in earlier sittings of a resumed run
        self.started = self.committed = time.monotonic()
        self._scores: dict[int, Scores] = {}  # of the test tasks, by version
        asked = recipe.asked
        self.families = {task.family: task.form for task in self.tasks["train"] if task.family in asked}
        self.test = held_out(self.tasks["test"], list(self.families), recipe.evaluation.test_per_family)
        by_view = answer_by_view(self.tasks["train"], self.test, recipe.reward.rules)
        self.baseline = Scores(by_view, recipe.evaluation.bootstrap).measures() if by_view else None

    def train(self) -> dict[str, Any]:
        """Walks through the curriculum to its end and exports the model.

        Returns:
            The summary, as in summary.json.

        Raises:
            RemoteFailure: a worker failed or did not answer.
        """
        if self.baseline:
            self.display.evaluation("baseline", "that sees only the view", self.baseline)
        while not self.curriculum.finished:
            stage, record = self.curriculum.stage, self.curriculum.record
            if record.steps == 0:
                self._open_stage(stage, record)
            row = self._sft_step(stage) if stage.kind == "sft" else self._grpo_step(stage)
            self.step += 1
            self.curriculum.step_done()
            self.ledger.check()
            self._log_step(stage, record, row)
            if self.curriculum.evaluation_due and self.curriculum.observe(self._validate(stage, record)):
                self._close_stage(stage, record)
            if record.reason or time.monotonic() - self.committed > 60 * self.recipe.checkpoint.every_minutes:
                self._commit()
        with self._phase("export"):
            self.workers.learner.export(self.folder.path / "model")
        return self.end("finished")

    # -- steps ----------------------------------------------------------------------------------------------------

    def _sft_step(self, stage: SftStage) -> dict[str, Any]:
        """One update on gold traces."""
        training = stage.training
        drawn = self.sampler.draw(stage.mixture, training.tasks_per_step)
        with self._phase("learn"):
            row = self.workers.learner.sft([task for task, _ in drawn], training.rate(self.curriculum.record.steps))
        self.version += 1
        return row

    def _grpo_step(self, stage: GrpoStage) -> dict[str, Any]:
        """Groups of responses from the present weights, their verdicts, and the updates that these teach."""
        training, step, temperature = stage.training, self.curriculum.record.steps, self.recipe.rollout.temperature
        self._publish()
        requests = []
        for index, (task, pass_number) in enumerate(self.sampler.draw(stage.mixture, training.tasks_per_step)):
            seed = sampling_seed(self.recipe.seed, task.id, pass_number)
            requests.append(Request(f"{stage.name}-{step}-{index}", task, training.group_size, seed))
            self.ledger.issue(requests[-1], stage.name, step, pass_number)
        with self._phase("generate"):
            groups = self.workers.rollouts.generate(requests, temperature, self.version)
        with self._phase("score"):
            verdicts = self.workers.rewards.score(groups)
            gate = {}
            if self.recipe.reward.rules.batch_gate:
                verdicts, is_open = self.gate.apply(verdicts)
                gate = {"batch_gate": float(is_open)}
            scored = [ScoredGroup(group, v, token_advantages(v, [t.char_ends for t in group.trajectories],
                                                             training.credit, training.process_weight))
                      for group, v in zip(groups, verdicts, strict=True)]
        with self._phase("learn"):
            row = self.workers.learner.grpo(scored, training, training.rate(step), temperature)
        self.version += training.updates_per_step
        for group in groups:
            self.ledger.train(group.group_id, self.version)
        self.folder.add_trajectories(self.step, stage.name, scored, self.recipe.log_trajectories)
        return row | _response_numbers(scored) | gate

    def _publish(self) -> None:
        """Brings the present weights to every rollout worker, and has each prove that it holds them."""
        if self.published == self.version:
            return
        probe = self.test[:: max(1, len(self.test) // PROBE_TASKS)][:PROBE_TASKS]
        with self._phase("publish"):
            self.workers.learner.publish(self.version, probe)
            self.workers.rollouts.update(self.version)
        self.published = self.version

    # -- stages and evaluation ------------------------------------------------------------------------------------

    def _open_stage(self, stage: Stage, record: StageRecord) -> None:
        shares = ", ".join(f"{family} {share:.0%}" for family, share in stage.mixture.items())
        self.display.say(f"stage {stage.name} ({stage.kind}): {shares}")
        self.gate = BatchGate()  # a stage's outcomes are not those of the one before
        self.workers.learner.start_stage(stage.training, first=self.step == 0)
        self._test(stage, record, "start")

    def _close_stage(self, stage: Stage, record: StageRecord) -> None:
        before = self._scores_of(self.evaluations[stage.name]["start"]["version"])
        gain = self._test(stage, record, "end").gain_over(before)
        self.evaluations[stage.name]["gain"] = _flat(gain)
        words = ", ".join(f"{name} {v:+.3f} [{low:+.3f}, {high:+.3f}]"
                          for name, (v, low, high) in gain.items() if name in HEADLINES)
        self.display.say(f"stage {stage.name} ends after {record.steps} steps by {record.reason}: {words}")

    def _validate(self, stage: Stage, record: StageRecord) -> float:
        """The gate's measure on the validation tasks of its form."""
        measure = stage.gate.measure
        families = [f for f, form in self.families.items() if form == GATE_FORMS[measure]]
        self._publish()
        with self._phase("evaluate"):
            tasks = held_out(self.tasks["val"], families, self.recipe.evaluation.val_per_family)
            results = answer(tasks, self.workers.rollouts, self.workers.rewards, self.version)
            measures = Scores(results, self.recipe.evaluation.bootstrap).measures()
        self._log_measures(stage, record, "val", measures)
        return measures[measure][0]

    def _test(self, stage: Stage, record: StageRecord, when: str) -> Scores:
        """Scores the test tasks, once for each version of the weights."""
        if self.version not in self._scores:
            self._publish()
            with self._phase("evaluate"):
                results = answer(self.test, self.workers.rollouts, self.workers.rewards, self.version)
            self.folder.add_evaluation({"stage": stage.name, "when": when, "step": self.step, "version": self.version}, results)
            self._scores[self.version] = Scores(results, self.recipe.evaluation.bootstrap)
        scores = self._scores[self.version]
        measures = scores.measures()
        self.evaluations[stage.name][when] = _flat(measures) | {"version": self.version}
        self._log_measures(stage, record, f"test {when}", measures)
        return scores

    def _scores_of(self, version: int) -> Scores:
        if version not in self._scores:  # tested in an earlier sitting
            results = self.folder.read_evaluation(version, self.test)
            self._scores[version] = Scores(results, self.recipe.evaluation.bootstrap)
        return self._scores[version]

    # -- what is kept ---------------------------------------------------------------------------------------------

    def _log_step(self, stage: Stage, record: StageRecord, row: dict[str, Any]) -> None:
        seconds = {name: total - self._phases_before.get(name, 0.0) for name, total in self.phases.items()}
        self._phases_before = dict(self.phases)
        busy = sum(spent for name, spent in seconds.items() if name in STEP_PHASES)
        self._pace = busy if self._pace is None or record.steps <= 2 else 0.8 * self._pace + 0.2 * busy
        for name in self.worst:
            self.worst[name] = max(self.worst[name], row.get(name, 0.0))
        row = self._place(stage, record, "step") | row | {f"seconds_{n}": s for n, s in seconds.items() if s} | {
            "max_steps": stage.gate.max_steps, "tokens_per_s": row["tokens"] / busy,
            "seconds_left": self._pace * (stage.gate.max_steps - record.steps)}
        self.folder.add_metrics(row)
        self.display.step(row)

    def _log_measures(self, stage: Stage, record: StageRecord, when: str, measures: dict[str, Interval]) -> None:
        self.folder.add_metrics(self._place(stage, record, when) | {name: value for name, (value, _, _) in measures.items()})
        self.display.evaluation(f"{stage.name} {record.steps}", when, measures)
        self.folder.write_summary(self.summary("running"))

    def _place(self, stage: Stage, record: StageRecord, event: str) -> dict[str, Any]:
        return {"event": event, "stage": stage.name, "kind": stage.kind, "step": self.step, "stage_step": record.steps,
                "version": self.version}

    def summary(self, status: str) -> dict[str, Any]:
        """What summary.json holds."""
        stages = [{"name": r.name, "kind": r.kind, "steps": r.steps, "reason": r.reason, "scores": r.scores,
                   "evaluation": self.evaluations[r.name]}
                  for r in self.curriculum.records if r.steps or self.evaluations[r.name]]
        baseline = {"baseline": {"view": _flat(self.baseline)}} if self.baseline else {}
        return {"status": status, "name": self.folder.path.name, "recipe": self.recipe.name, "seed": self.recipe.seed,
                "steps": self.step, "version": self.version, "stages": stages, **baseline, **self.worst,
                "ledger": self.ledger.totals(), "seconds": {"all": self._seconds(), **self.phases}}

    def end(self, status: str, why: str | None = None) -> dict[str, Any]:
        """Writes the last summary: finished, failed or interrupted, and why."""
        summary = self.summary(status) | ({"why": why} if why else {})
        self.folder.write_summary(summary)
        return summary

    def close(self) -> None:
        self.folder.close()
        self.ledger.close()

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _commit(self) -> None:
        with self._phase("commit"):
            folder = self.checkpoints.begin(self.step)
            self.workers.learner.save(folder)
            self.folder.flush()
            self.checkpoints.commit(folder, {
                "step": self.step, "version": self.version, "curriculum": self.curriculum.state_dict(),
                "sampler": self.sampler.state_dict(), "gate": self.gate.state_dict(),
                "ledger": self.ledger.state_dict(), "evaluations": self.evaluations, "worst": self.worst,
                "phases": self.phases, "seconds": self._seconds()})
        self.committed = time.monotonic()

    def restore(self, commit: Path, state: dict[str, Any]) -> None:
        """Goes on from a commit, whose state `Checkpoints.load` gave.

        Raises:
            ValueError: it is of other stages or tasks.
        """
        self.curriculum.load_state_dict(state["curriculum"])
        self.sampler.load_state_dict(state["sampler"])
        self.gate.load_state_dict(state["gate"])
        self.ledger.load_state_dict(state["ledger"])
        self.step, self.version, self.evaluations = state["step"], state["version"], state["evaluations"]
        self.worst, self.phases, self.seconds_before = state["worst"], state["phases"], state["seconds"]
        self._phases_before = dict(self.phases)
        self.folder.cut(self.step)
        self.workers.learner.load(commit)
        self.display.say(f"resumed at step {self.step}, from {commit.name}")

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - start


def _response_numbers(scored: Sequence[ScoredGroup]) -> dict[str, float]:
    """Means over all responses of a step; `flat_groups` is the share of groups whose rewards are all equal."""
    verdicts = [v for group in scored for v in group.verdicts]
    trajectories = [t for group in scored for t in group.group.trajectories]
    own = sorted({name for v in verdicts for name, _ in v.more})

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values))

    return {
        "reward": mean([v.total for v in verdicts]), "outcome": mean([v.outcome for v in verdicts]),
        "format": mean([v.format for v in verdicts]), "process": mean([v.process for v in verdicts]),
        "reason": mean([v.reason for v in verdicts]), "unscored": mean([NOT_SCORED in v.faults for v in verdicts]),
        **{f"own_{name}": mean([dict(v.more).get(name, 0.0) for v in verdicts]) for name in own},
        "response_tokens": mean([len(t.ids) for t in trajectories]), "truncated": mean([t.truncated for t in trajectories]),
        "flat_groups": mean([len({v.total for v in group.verdicts}) == 1 for group in scored])}


def _flat(measures: dict[str, Interval]) -> dict[str, Any]:
    return {**{name: value for name, (value, _, _) in measures.items()},
            "intervals": {name: [low, high] for name, (_, low, high) in measures.items()}}
