"""What a run shows and records of each step and evaluation: metrics, gauges, timeline, display."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from actors.learner.orders import UpdateResult
from cluster.measures import Interval
from cluster.pools.autoscale import Balance
from cluster.record.timeline import STEP_PHASES
from cluster.run.context import RunContext
from cluster.run.progress.prometheus import RunMetrics
from cluster.run.progress.summary import RunSummary
from cluster.run.publishing import Publisher
from cluster.stages import StageKind
from cluster.stages.row import StepRow
from curriculum.stages import StageRecord

STATUS_NUMBERS = (
    "tokens_per_s",
    "rollout_tokens_per_s",
    "learner_tokens_per_s",
    "mfu",
    "staleness",
    "staleness_max",
    "rollout_busy",
    "learner_busy",
    "seconds_left",
    "loss",
    "reward",
)
ITEMS = {"rollout": "groups", "reward": "responses"}  # what a worker's share consists of


class Progress:
    """Logs steps and evaluations, and reports the run's status.

    Attributes:
        row: the last step, as in metrics.parquet.
    """

    def __init__(self, context: RunContext, publisher: Publisher, summary: RunSummary) -> None:
        self.workers, self.writer, self.position = context.workers, context.writer, context.position
        self.curriculum, self.ledger, self.phases = context.curriculum, context.ledger, context.phases
        self.timeline, self.display = context.timeline, context.display
        self.publisher, self.summary = publisher, summary
        self.gauges = RunMetrics(self.writer.path.name)
        self.recipe = context.recipe
        rollout = self.recipe.rollout
        self.balance = Balance(rollout.min, rollout.max) if rollout.min and rollout.max else None
        self.row: StepRow = {}
        self._seconds_before: dict[str, float] = {}  # by phase, at the last step
        self._rollout_before = (0.0, 0.0, 0)  # seconds busy and present, and tokens, at the last step
        self._pace: float | None = None  # seconds of a step, smoothed

    def open(self, stage: StageKind) -> None:
        """Shows that a stage begins."""
        shares = ", ".join(f"{family} {share:.0%}" for family, share in stage.mixture.items())
        self.display.say(f"stage {stage.name} ({stage.kind}): {shares}")

    def log(self, stage: StageKind, record: StageRecord, result: UpdateResult) -> StepRow:
        """Completes the row of a step, and adds it everywhere. Returns it."""
        seconds = self._seconds_since_last_step()
        step_s = sum(spent for name, spent in seconds.items() if name in STEP_PHASES)
        self._pace = step_s if self._pace is None or record.steps <= 2 else 0.8 * self._pace + 0.2 * step_s
        self.summary.add_step(result.numbers)
        row: dict[str, Any] = (
            self._where(stage, record, "step")
            | result.numbers
            | self._rollout_use(stage, seconds.get("learn", 0.0))
            | {f"seconds_{name}": spent for name, spent in seconds.items() if spent}
            | {
                "max_steps": stage.gate.max_steps,
                "tokens_per_s": result.numbers["tokens"] / step_s,
                "learner_busy": seconds.get("learn", 0.0) / step_s,
                "seconds_left": self._pace * (stage.gate.max_steps - record.steps),
            }
        )
        if self.publisher.version_bytes is not None:
            row["version_bytes"] = self.publisher.version_bytes
        if gpus := self._gpus():
            row["tokens_per_s_per_gpu"] = row["tokens_per_s"] / gpus
        if self.publisher.direct_share is not None:
            row["by_collective"] = self.publisher.direct_share
        self.row = cast(StepRow, row)
        self._add(row)
        self.display.step(self.row)
        for event in self.workers.events():
            self.display.say(event)
        return self.row

    def log_measures(self, stage: StageKind, record: StageRecord, when: str, measures: Mapping[str, Interval]) -> None:
        """Adds the measures of an evaluation everywhere; `when` is "val", "test start" or "test end"."""
        self._add(self._where(stage, record, when) | {name: value for name, (value, _, _) in measures.items()})
        self.display.evaluation(f"{stage.name} {record.steps}", when, measures)
        self.summary.write("running")

    def status(self, status: str) -> dict[str, Any]:
        """What `curlvpr status` shows: `status` ("running", "paused", "stopping") and the run's numbers."""
        stage: dict[str, Any] = {}
        if not self.curriculum.finished:
            stage = {
                "stage": self.curriculum.stage.name,
                "stage_step": self.curriculum.record.steps,
                "max_steps": self.curriculum.stage.gate.max_steps,
            }
        row: dict[str, Any] = dict(self.row)
        numbers = {name: row[name] for name in STATUS_NUMBERS if name in row}
        step_seconds = {name: round(row[f"seconds_{name}"], 2) for name in STEP_PHASES if f"seconds_{name}" in row}
        if step_seconds:
            numbers["step_seconds"] = step_seconds  # what the learner waited for, beside learning
        return {
            "run": self.writer.path.name,
            "status": status,
            **stage,
            "step": self.position.step,
            "version": self.position.version,
            "seconds": round(self.phases.total(), 1),
            "workers": self.workers.states(),
            "ledger": self.ledger.totals(),
            **numbers,
        }

    def report(self, status: Mapping[str, Any]) -> None:
        """Brings a status to Prometheus, and the workers' shares into the timeline."""
        self.gauges.report(status, self.workers.pools)
        for kind, spans in self.workers.spans().items():
            for span in spans:
                self.gauges.worked(kind, span)
                self.timeline.add(span.worker, f"{span.items} {ITEMS[kind]}", span.began, span.seconds)
        self.timeline.flush()

    def restart(self) -> None:
        """Counts from the phases of a commit on."""
        self._seconds_before = dict(self.phases.seconds)

    def _seconds_since_last_step(self) -> dict[str, float]:
        seconds = {name: total - self._seconds_before.get(name, 0.0) for name, total in self.phases.seconds.items()}
        self._seconds_before = dict(self.phases.seconds)
        return seconds

    def _gpus(self) -> float:
        """Those that the run has at present."""
        engines = self.workers.rollout_size * self.recipe.rollout.gpus
        return engines + self.workers.learner.ranks * self.recipe.learner.gpus

    def _rollout_use(self, stage: StageKind, learn_s: float) -> dict[str, float]:
        """The share of their time in which rollout workers generated; scales them by it if the recipe says so."""
        usage = self.workers.rollout_use()
        busy_s, present_s, tokens = (now - before for now, before in zip(usage, self._rollout_before, strict=True))
        self._rollout_before = usage
        if not stage.generates:
            return {}
        size = self.workers.rollout_size
        if self.balance and (wanted := self.balance.workers(size, busy_s, learn_s)) != size:
            self.display.say(
                f"rollout workers {size} → {wanted}: a step's responses take {busy_s:.1f} s of one worker, "
                f"learning {learn_s:.1f} s"
            )
            self.workers.scale(rollout=wanted)
        return {
            "rollout_workers": self.workers.rollout_size,
            "rollout_busy": busy_s / present_s if present_s else 0.0,
            "rollout_tokens_per_s": tokens / busy_s / self.recipe.rollout.gpus_at_work if busy_s else 0.0,
        }

    def _add(self, row: dict[str, Any]) -> None:
        self.writer.add_metrics(row)
        self.gauges.add(row)

    def _where(self, stage: StageKind, record: StageRecord, event: str) -> dict[str, Any]:
        return {
            "event": event,
            "stage": stage.name,
            "kind": stage.kind,
            "step": self.position.step,
            "stage_step": record.steps,
            "version": self.position.version,
        }
