"""The run: tasks in, a trained model out. `Run.train` reads from top to bottom."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from actors.algorithm.config import GrpoTraining, SftTraining
from actors.algorithm.overlong import with_overlong_penalty
from actors.learner.handle import LearnerRestarted
from actors.runtime.remote import RemoteFailure
from actors.runtime.storage import Storage
from actors.trajectory import Group, ScoredGroup
from actors.weights.store import Version
from cluster.config.guards import Alarm, Guards
from cluster.config.recipe import GrpoStage, Recipe, SftStage, Stage
from cluster.control.run_actor import Control
from cluster.measures import Interval, Scores
from cluster.measures.headlines import HEADLINES
from cluster.pools.autoscale import Balance
from cluster.record.checkpoint import CheckpointError, run_checkpoints
from cluster.record.console import Display
from cluster.record.ledger import Ledger
from cluster.record.response_metrics import response_numbers
from cluster.record.run_writer import RunWriter
from cluster.record.timeline import STEP_PHASES, Timeline
from cluster.run.dynamic_sampling import replace_flat_groups
from cluster.run.evaluation import answer, answer_by_view, held_out
from cluster.run.in_flight import InFlight
from cluster.run.prepare import Prepared
from cluster.run.prometheus import RunMetrics
from cluster.run.workers import Workers
from curriculum.sampler import Sampler
from curriculum.stages import GATE_FORMS, Curriculum, StageRecord
from rewards.batch_gate import BatchGate

MOST_ROLL_BACKS = 3
MOST_SKIPPED = 3  # steps in a row whose gradients were not finite
PAUSE_S = 1.0  # between two looks at what a paused run was asked
WORK = {"rollout": "groups", "reward": "responses"}
PROBE_TASKS = 2  # a worker proves with so many that it holds a version


class Run:
    """One run, on workers that stand.

    `step` counts the updates' steps of the whole run; `version` counts the updates of the weights. Where the learner dies,
    all goes back to the last commit, and a new `lineage` of versions begins.
    """

    def __init__(
        self,
        recipe: Recipe,
        prepared: Prepared,
        folder: RunWriter,
        workers: Workers,
        display: Display,
        control: Control,
    ) -> None:
        self.recipe, self.tasks, self.folder, self.workers, self.display = (
            recipe,
            prepared.tasks,
            folder,
            workers,
            display,
        )
        self.control, self.row = control, {}
        self.paused = self.stopping = False
        self.balance = Balance(recipe.rollout.min, recipe.rollout.max) if recipe.rollout.max else None
        self.curriculum = Curriculum(recipe.stages)
        self.sampler = Sampler(self.tasks["train"], recipe.seed)
        self.gate = BatchGate()
        self.guards = Guards(recipe.guards)
        self.roll_backs = 0  # that guards asked for; each takes nine tenths of the learning rate
        self.ledger = Ledger(folder.path / "ledger.jsonl")
        self.flights = InFlight(recipe, self.sampler, workers.rollouts, self.ledger)
        self.checkpoints = run_checkpoints(recipe, folder.path)
        self.metrics, self.timeline = RunMetrics(folder.path.name), Timeline(folder.path)
        self.step = self.version = self.lineage = 0
        self.published: Version | None = None
        self.by_collective: float | None = None  # the share of the workers that the last version reached straight
        self.evaluations: dict[str, dict[str, Any]] = {stage.name: {} for stage in recipe.stages}
        self.skipped = 0  # steps in a row whose gradients were not finite
        self.worst = {"logp_diff_max": 0.0, "ratio_diff_max": 0.0}
        self.phase = ""  # what it is at
        self.phases: dict[str, float] = {}  # seconds by what they were spent on
        self._phases_before: dict[str, float] = {}  # as they stood at the last step
        self._rollout_seconds = (0.0, 0.0)  # busy and present, as they stood at the last step
        self._commit_s = 0.0  # what the last commit took
        self._pace: float | None = None  # seconds of a step, smoothed
        self.seconds_before = 0.0  # in earlier sittings of a resumed run
        self.started = self.committed = time.monotonic()
        self._scores: dict[int, Scores] = {}  # of the test tasks, by version
        asked = recipe.asked
        self.families = {task.family: task.form for task in self.tasks["train"] if task.family in asked}
        self.test = held_out(self.tasks["test"], list(self.families), recipe.evaluation.test_per_family)
        by_view = answer_by_view(self.tasks["train"], self.test, recipe.reward.rules)
        self.baseline = Scores(by_view, recipe.evaluation.bootstrap).measures() if by_view else None
        self.first_state = copy.deepcopy(self._state()) | {"ledger": Ledger.EMPTY}

    def train(self) -> dict[str, Any]:
        """Walks through the curriculum to its end and exports the model; or to where it is told to stop, and commits.

        Returns:
            The summary, as in summary.json.

        Raises:
            RemoteFailure: a worker failed or did not answer.
        """
        if self.baseline:
            self.display.evaluation("baseline", "that sees only the view", self.baseline)
        with _rare_collections():
            return self._train()

    def _train(self) -> dict[str, Any]:
        why_back = ""
        while True:
            try:
                if why_back:
                    self._go_back(why_back)
                    why_back = ""
                while not self.curriculum.finished and not self.stopping:
                    self._advance()
                    self._heed()
                if self.stopping:
                    self._commit()
                    return self.end("stopped")
                with self._phase("export"):
                    self.workers.learner.export(self.folder.path / "model")
                return self.end("finished")
            except LearnerRestarted as error:
                why_back = str(error)

    def _advance(self) -> None:
        """One step, and what is due after it: an evaluation, the end of a stage, a commit."""
        stage, record = self.curriculum.stage, self.curriculum.record
        if record.steps == 0:
            self._open_stage(stage, record)
        row = self._sft_step(stage) if stage.kind == "sft" else self._grpo_step(stage)
        self.step += 1
        self.curriculum.step_done()
        self.ledger.check()
        culprits = row.pop("culprits")
        self._log_step(stage, record, row)
        self._tell_skipped(row["skipped"], culprits)
        for alarm in self.guards.look(self.step, row):
            if self._act_on(alarm):
                return
        if self.curriculum.evaluation_due and self.curriculum.observe(self._validate(stage, record)):
            self._close_stage(stage, record)
        due = time.monotonic() - self.committed > max(60 * self.recipe.checkpoint.every_minutes, 9 * self._commit_s)
        if record.reason or (due and not self.guards.alarmed):
            self._commit()

    def _tell_skipped(self, updates: float, culprits: list[dict[str, Any]]) -> None:
        """Keeps what made gradients not finite. Raises RemoteFailure where that happened `MOST_SKIPPED` steps in a row."""
        if not updates:
            self.skipped = 0
            return
        self.skipped += 1
        place = self.folder.add_non_finite(self.step, culprits)
        why = (
            f"step {self.step}: the gradient was not finite, and no rank took it; {updates:g} updates are skipped; "
            f"the {len(culprits)} samples at fault are in {place}"
        )
        self.display.say(why)
        if self.skipped == MOST_SKIPPED:
            raise RemoteFailure(
                f"{why}; so it was in the {MOST_SKIPPED - 1} steps before. A lower learning rate may help; "
                "curlvpr resume goes on from the last commit"
            )

    def _act_on(self, alarm: Alarm) -> bool:
        """Warns, pauses or rolls back; whether the step is undone.

        Raises:
            RemoteFailure: it was rolled back `MOST_ROLL_BACKS` times already.
        """
        self.display.say(f"{alarm.action.replace('_', ' ')}: {alarm.why}")
        if alarm.action == "pause":
            self.paused = True
        if alarm.action != "roll_back":
            return False
        if self.roll_backs == MOST_ROLL_BACKS:
            raise RemoteFailure(f"rolled back {MOST_ROLL_BACKS} times, and still: {alarm.why}")
        self.roll_backs += 1
        self._go_back(alarm.why, alarm.began - 1)
        self.display.say(f"from here on the learning rate is the recipe's, times {0.1**self.roll_backs:g}")
        return True

    def _heed(self) -> None:
        """Tells how the run stands, and does what it was asked for meanwhile; stays here while it is paused."""
        while True:
            status = self.status()
            self._tell(status)
            for request in self.control.sync(status):
                self.display.say(
                    f"asked to {request.action}"
                    + "".join(
                        f", {count} {kind}"
                        for kind, count in (("rollout", request.rollout), ("reward", request.reward))
                        if count
                    )
                )
                if request.action == "scale":
                    self.workers.scale(request.rollout, request.reward)
                elif request.action == "checkpoint":
                    self._commit()
                elif request.action == "stop":
                    self.stopping = True
                else:
                    self.paused = request.action == "pause"
            if self.stopping or not self.paused:
                return
            self.workers.pump()
            time.sleep(PAUSE_S)

    def _tell(self, status: dict[str, Any]) -> None:
        """To Prometheus, and into the timeline."""
        self.metrics.tell(status, self.workers.pools)
        for kind, spans in self.workers.spans().items():
            for span in spans:
                self.metrics.worked(kind, span)
                self.timeline.add(span.worker, f"{span.items} {WORK[kind]}", span.began, span.seconds)
        self.timeline.flush()

    def status(self) -> dict[str, Any]:
        """How the run stands: what `curlvpr status` shows."""
        stage = (
            {}
            if self.curriculum.finished
            else {
                "stage": self.curriculum.stage.name,
                "stage_step": self.curriculum.record.steps,
                "max_steps": self.curriculum.stage.gate.max_steps,
            }
        )
        told = {
            name: self.row[name]
            for name in (
                "tokens_per_s",
                "staleness",
                "staleness_max",
                "rollout_busy",
                "learner_busy",
                "seconds_left",
                "loss",
                "reward",
            )
            if name in self.row
        }
        if spent := {
            name: round(self.row[f"seconds_{name}"], 2) for name in STEP_PHASES if f"seconds_{name}" in self.row
        }:
            told["step_seconds"] = spent  # what the learner waited for, beside learning
        status = "stopping" if self.stopping else "paused" if self.paused else "running"
        return {
            "run": self.folder.path.name,
            "status": status,
            **stage,
            "step": self.step,
            "version": self.version,
            "seconds": round(self._seconds(), 1),
            "workers": self.workers.states(),
            "ledger": self.ledger.totals(),
            **told,
        }

    # -- steps ----------------------------------------------------------------------------------------------------

    def _sft_step(self, stage: SftStage) -> dict[str, Any]:
        """One update on gold traces."""
        training = stage.training
        drawn = self.sampler.draw(stage.mixture, training.tasks_per_step)
        self._free_gpus()
        with self._phase("learn"):
            row = self.workers.learner.sft([task for task, _ in drawn], self._rate(training))
        self.version += 1
        return row

    def _grpo_step(self, stage: GrpoStage) -> dict[str, Any]:
        """Groups of responses, their verdicts, and the updates that these teach.

        Up to `max_staleness` steps are asked for in advance: their responses are written while the learner learns.
        """
        training, step = stage.training.within(self.recipe.rollout.max_response_tokens), self.curriculum.record.steps
        self._publish(wait=not training.max_staleness)
        self.flights.issue(stage, step)
        with self._phase("generate"):
            groups = self.flights.take(training, self.version)
        kept, flat = self._score(groups, training), []
        if training.dynamic_sampling:
            kept, flat = replace_flat_groups(
                kept, training, self.flights.least(training), partial(self._more, stage, step)
            )
        gate = {}
        if self.recipe.reward.rules.batch_gate:
            verdicts, is_open = self.gate.apply([scored.verdicts for scored in (*kept, *flat)])
            gate = {"batch_gate": float(is_open)}
            scored = [ScoredGroup(s.group, v) for s, v in zip((*kept, *flat), verdicts, strict=True)]
            kept, flat = scored[: len(kept)], scored[len(kept) :]
        self._free_gpus()
        with self._phase("learn"):
            row = self.workers.learner.grpo(kept, training, self._rate(training), self.recipe.rollout.temperature)
        row |= response_numbers([*kept, *flat], self.version) | gate
        if training.dynamic_sampling:
            row["dropped_groups"] = len(flat) / (len(kept) + len(flat))
        self.version += training.updates_per_step
        for scored in kept:
            self.ledger.train(scored.group.group_id, self.version)
        for scored in flat:
            self.ledger.drop(scored.group.group_id, "no variance")
        self.folder.add_trajectories(self.step, stage.name, kept, self.recipe.log_trajectories)
        return row

    def _more(self, stage: GrpoStage, step: int, asked: int, missing: int) -> list[ScoredGroup]:
        """So many further groups of a step, where it has asked for `asked`."""
        with self._phase("generate"):
            groups = self.flights.more(stage, step, asked, missing, self.version)
        return self._score(groups, stage.training) if groups else []

    def _score(self, groups: Sequence[Group], training: GrpoTraining) -> list[ScoredGroup]:
        with self._phase("score"):
            verdicts = self.workers.rewards.score(groups)
            if training.overlong:
                verdicts = [
                    with_overlong_penalty(
                        v,
                        g.trajectories,
                        self.recipe.rollout.max_response_tokens,
                        training.overlong,
                        training.overlong_penalty,
                    )
                    for v, g in zip(verdicts, groups, strict=True)
                ]
        return [ScoredGroup(*both) for both in zip(groups, verdicts, strict=True)]

    def _free_gpus(self) -> None:
        """Where learner and rollout workers share GPUs, these sleep from here to the next version."""
        if self.recipe.rollout.sleep:
            with self._phase("publish"):
                self.workers.rollouts.sleep()
            self.published = None

    def _rate(self, training: SftTraining | GrpoTraining) -> float:
        """The learning rate of the present step."""
        return 0.1**self.roll_backs * training.rate(self.curriculum.record.steps)

    def _publish(self, wait: bool = True) -> None:
        """Brings the present weights to every rollout worker, and has each prove that it holds them before it writes by them.

        Without `wait` they do so while the run goes on; but none of them is more than one version behind.
        """
        version = Version(self.lineage, self.version)
        if self.published == version:
            return
        probe = self.test[:: max(1, len(self.test) // PROBE_TASKS)][:PROBE_TASKS]
        learner, rollouts = self.workers.learner, self.workers.rollouts
        wait = wait or self.published is None
        with self._phase("publish"):
            if self.recipe.collective:
                if not wait:
                    rollouts.pool.wait_until_current(partial(learner.finish, wait=False))
                rollouts.pool.begin_version(version)  # the learner meets them at the store
                receivers = rollouts.pool.receivers()
                sent = learner.publish(version, probe, receivers)
                self.by_collective = sent.reached / max(1, len(receivers))
                for line in sent.news:
                    self.display.say(line)
                if wait:
                    rollouts.pool.wait_until_current(partial(learner.finish, wait=False))
            else:
                learner.publish(version, probe)
                if wait:
                    rollouts.update(version)
                else:
                    rollouts.begin_update(version)
        self.published = version

    # -- stages and evaluation ------------------------------------------------------------------------------------

    def _open_stage(self, stage: Stage, record: StageRecord) -> None:
        shares = ", ".join(f"{family} {share:.0%}" for family, share in stage.mixture.items())
        self.display.say(f"stage {stage.name} ({stage.kind}): {shares}")
        self.gate = BatchGate()  # a stage's outcomes are not those of the one before
        self.workers.learner.start_stage(stage.training, first=self.step == 0)
        self._test(stage, record, "start")

    def _close_stage(self, stage: Stage, record: StageRecord) -> None:
        self.flights.ground("the stage ended")
        before = self._scores_of(self.evaluations[stage.name]["start"]["version"])
        gain = self._test(stage, record, "end").gain_over(before)
        self.evaluations[stage.name]["gain"] = _flat(gain)
        words = ", ".join(
            f"{name} {v:+.3f} [{low:+.3f}, {high:+.3f}]" for name, (v, low, high) in gain.items() if name in HEADLINES
        )
        self.display.say(f"stage {stage.name} ends after {record.steps} steps by {record.reason}: {words}")

    def _validate(self, stage: Stage, record: StageRecord) -> float:
        """The gate's measure on the validation tasks of its form."""
        measure = stage.gate.measure
        families = [f for f, form in self.families.items() if form == GATE_FORMS[measure]]
        self._publish()
        with self._phase("evaluate"):
            tasks = held_out(self.tasks["val"], families, self.recipe.evaluation.val_per_family)
            results = answer(tasks, self.workers.rollouts, self.workers.rewards)
            measures = Scores(results, self.recipe.evaluation.bootstrap).measures()
        self._log_measures(stage, record, "val", measures)
        return measures[measure][0]

    def _test(self, stage: Stage, record: StageRecord, when: str) -> Scores:
        """Scores the test tasks, once for each version of the weights."""
        if self.version not in self._scores:
            self._publish()
            with self._phase("evaluate"):
                results = answer(self.test, self.workers.rollouts, self.workers.rewards)
            self.folder.add_evaluation(
                {"stage": stage.name, "when": when, "step": self.step, "version": self.version}, results
            )
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
        row |= self._rollout_use(stage, seconds)
        self._pace = busy if self._pace is None or record.steps <= 2 else 0.8 * self._pace + 0.2 * busy
        for name in self.worst:
            self.worst[name] = max(self.worst[name], row.get(name, 0.0))
        row = (
            self._place(stage, record, "step")
            | row
            | {f"seconds_{n}": s for n, s in seconds.items() if s}
            | {
                "max_steps": stage.gate.max_steps,
                "tokens_per_s": row["tokens"] / busy,
                "learner_busy": seconds.get("learn", 0.0) / busy,
                "seconds_left": self._pace * (stage.gate.max_steps - record.steps),
            }
        )
        if self.by_collective is not None:
            row["by_collective"] = self.by_collective
        self.row = row
        self._add(row)
        self.display.step(row)
        for event in self.workers.events():
            self.display.say(event)

    def _rollout_use(self, stage: Stage, seconds: dict[str, float]) -> dict[str, float]:
        """The share of their time that rollout workers spent on responses; scales them by it where the recipe says so."""
        pool, (busy_before, present_before) = self.workers.rollouts.pool, self._rollout_seconds
        self._rollout_seconds = pool.busy_s, pool.present_s
        busy_s, present_s = pool.busy_s - busy_before, pool.present_s - present_before
        if stage.kind == "sft":
            return {}
        if self.balance and (size := self.balance.workers(pool.size, busy_s, seconds.get("learn", 0.0))) != pool.size:
            self.display.say(
                f"rollout workers {pool.size} → {size}: a step's responses take {busy_s:.1f} s of one worker, "
                f"learning {seconds['learn']:.1f} s"
            )
            pool.scale(size)
        return {"rollout_workers": pool.size, "rollout_busy": busy_s / present_s if present_s else 0.0}

    def _log_measures(self, stage: Stage, record: StageRecord, when: str, measures: dict[str, Interval]) -> None:
        self._add(self._place(stage, record, when) | {name: value for name, (value, _, _) in measures.items()})
        self.display.evaluation(f"{stage.name} {record.steps}", when, measures)
        self.folder.write_summary(self.summary("running"))

    def _add(self, row: dict[str, Any]) -> None:
        self.folder.add_metrics(row)
        self.metrics.add(row)

    def _place(self, stage: Stage, record: StageRecord, event: str) -> dict[str, Any]:
        return {
            "event": event,
            "stage": stage.name,
            "kind": stage.kind,
            "step": self.step,
            "stage_step": record.steps,
            "version": self.version,
        }

    def summary(self, status: str) -> dict[str, Any]:
        """What summary.json holds."""
        stages = [
            {
                "name": r.name,
                "kind": r.kind,
                "steps": r.steps,
                "reason": r.reason,
                "scores": r.scores,
                "evaluation": self.evaluations[r.name],
            }
            for r in self.curriculum.records
            if r.steps or self.evaluations[r.name]
        ]
        baseline = {"baseline": {"view": _flat(self.baseline)}} if self.baseline else {}
        return {
            "status": status,
            "name": self.folder.path.name,
            "recipe": self.recipe.name,
            "seed": self.recipe.seed,
            "steps": self.step,
            "version": self.version,
            "stages": stages,
            **baseline,
            **self.worst,
            "ledger": self.ledger.totals(),
            "seconds": {"all": self._seconds(), **self.phases},
        }

    def end(self, status: str, why: str | None = None) -> dict[str, Any]:
        """Writes the last summary: finished, failed or interrupted, and why."""
        summary = self.summary(status) | ({"why": why} if why else {})
        self.folder.write_summary(summary)
        return summary

    def close(self) -> None:
        self.folder.close()
        self.ledger.close()
        self.timeline.close()

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _commit(self) -> None:
        if lack := self.checkpoints.missing_space():
            self.display.say(f"no checkpoint is written: {lack}")
            self.committed = time.monotonic()
            return
        start = time.monotonic()
        with self._phase("commit"):
            folder = self.checkpoints.begin(self.step)
            digests = self.workers.learner.save(folder)
            self.folder.flush()
            self.checkpoints.commit(folder, digests, self._state())
            if not (self.stopping or self.curriculum.finished):
                self.workers.learner.grow()
        self.committed = time.monotonic()
        self._commit_s = self.committed - start

    def _state(self) -> dict[str, Any]:
        """What a commit holds beside the learner's own part; plain values, for JSON."""
        return {
            "step": self.step,
            "version": self.version,
            "curriculum": self.curriculum.state_dict(),
            "sampler": self.sampler.state_dict(),
            "gate": self.gate.state_dict(),
            "ledger": self.ledger.state_dict(),
            "roll_backs": self.roll_backs,
            "in_flight": self.flights.state_dict(),
            "evaluations": self.evaluations,
            "worst": self.worst,
            "phases": self.phases,
            "seconds": self._seconds(),
        }

    def restore(self, commit: Storage | None, state: dict[str, Any]) -> None:
        """Goes on from a commit, whose state `Checkpoints.load` gave; without one from the beginning, by `first_state`.

        Raises:
            ValueError: it is of other stages or tasks.
        """
        state = copy.deepcopy(state)
        self.flights.forget()
        self.curriculum.load_state_dict(state["curriculum"])
        self.sampler.load_state_dict(state["sampler"])
        self.gate.load_state_dict(state["gate"])
        self.ledger.load_state_dict(state["ledger"])
        self.step, self.version, self.evaluations = state["step"], state["version"], state["evaluations"]
        self.roll_backs = max(self.roll_backs, state["roll_backs"])
        self.guards.reset()
        self.skipped = 0
        self.worst, self.phases, self.seconds_before = state["worst"], state["phases"], state["seconds"]
        self.started = self.committed = time.monotonic()
        self._phases_before = dict(self.phases)
        self._scores.clear()
        self.folder.drop_after(self.step if commit else -1)
        if commit:
            self.workers.learner.load(commit)
        if state["in_flight"]:
            self._publish()
            self.flights.load_state_dict(state["in_flight"], {task.id: task for task in self.tasks["train"]})

    def _go_back(self, why: str, before: int | None = None) -> None:
        """Goes on from the last commit, or the last one before a step; from the beginning where there is none.

        Raises:
            RemoteFailure: there is none, and the learner has learnt already.
        """
        lost, self.lineage, seconds = self.step, self.lineage + 1, self._seconds()
        self.published = None
        self.workers.rollouts.withdraw()
        commit, state = None, self.first_state
        for folder in reversed(self.checkpoints.committed()):
            try:
                held = self.checkpoints.load(folder)
            except CheckpointError as error:
                self.display.say(str(error))
                continue
            if before is None or held["step"] <= before:
                commit, state = folder, held
                break
        if commit is None and before is not None:
            raise RemoteFailure(f"{why}; no commit from before is kept (checkpoint.keep)")
        self.restore(commit, state)
        self.seconds_before = seconds  # what was lost took its time, too
        self.display.say(f"{why}; {lost - self.step} steps are made again, from step {self.step}")

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start, before, self.phase = time.monotonic(), self.phase, name
        try:
            yield
        finally:
            self.phase = before
            seconds = time.monotonic() - start
            self.phases[name] = self.phases.get(name, 0.0) + seconds
            self.timeline.add("run", name, start, seconds, step=self.step)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Python looks for garbage less often, and not among what was imported: a third of a busy run's own time otherwise."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _flat(measures: dict[str, Interval]) -> dict[str, Any]:
    return {
        **{name: value for name, (value, _, _) in measures.items()},
        "intervals": {name: [low, high] for name, (_, low, high) in measures.items()},
    }
