"""A run's numbers for Prometheus: Ray offers them at the metrics port of the run's node, all labelled with the run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ray.util.metrics import Counter, Gauge

from cluster.pools.shares import WorkSpan
from cluster.pools.work_pool import WorkPool
from cluster.pools.worker_health import State
from cluster.record.timeline import STEP_PHASES

STEP_NUMBERS = {
    "step": "Steps done, over all stages.",
    "stage_step": "Steps done in the present stage.",
    "max_steps": "Steps after which the present stage ends in any case.",
    "version": "Updates of the weights.",
    "loss": "Training loss of the step.",
    "grad_norm": "Norm of the gradient before clipping, mean over the step's updates.",
    "skipped": "Updates that were skipped, since their gradient was not finite.",
    "lr": "Learning rate.",
    "tokens": "Tokens that the learner trained on in the step.",
    "tokens_per_s": "Trained tokens a second, evaluations and commits left out.",
    "tokens_per_s_per_gpu": "The same by the GPUs of the run.",
    "learner_tokens_per_s": "Trained tokens a second of one rank, while it learns.",
    "learner_flops": "Floating-point operations a second that the learning needs, of one rank.",
    "mfu": "The same as a share of the GPU's peak: model FLOPs utilisation.",
    "hfu": "As mfu, with what the backward pass computes again: hardware FLOPs utilisation.",
    "seconds_left": "Seconds until the present stage ends at the latest.",
    "film_wait_s": "Seconds of the newest step for which the learner waited for films.",
    "learner_busy": "Share of the step in which the learner learnt.",
    "reward": "Mean reward of the step's responses.",
    "outcome": "Mean outcome score, 0 to 1.",
    "format": "Mean format score, 0 to 1.",
    "process": "Mean process score, 0 to 1.",
    "reason": "Mean grounding of the think blocks, 0 to 1.",
    "unscored": "Share of responses that no reward worker could score.",
    "unread": "Share of final answers that could not be read.",
    "batch_gate": "1 where the batch gate lets process rewards through, else 0.",
    "response_tokens": "Mean length of a response.",
    "truncated": "Share of responses that were cut off.",
    "flat_groups": "Share of groups whose rewards are all equal; they teach nothing.",
    "dropped_groups": "Share of groups that dynamic sampling left out.",
    "expected_signal": "What the step's tasks were expected to teach: the chance that a group is not flat.",
    "entropy": "Mean entropy of a response token, in nats.",
    "kl": "Mean KL divergence from the reference, estimator k3.",
    "teacher_kl": "Mean KL divergence from the teachers, estimator k3.",
    "accepted": "Share of responses that rejection sampling accepted.",
    "learnt_responses": "Responses that a step of rejection sampling learnt from.",
    "tasks_without_accepted": "Tasks of a step of rejection sampling without an accepted response.",
    "clipped": "Share of tokens whose ratio was clipped.",
    "correction": "Mean weight that corrects tokens of older versions.",
    "logp_diff_mean": "Mean difference of log-probabilities between engine and learner.",
    "logp_diff_max": "Largest difference of log-probabilities between engine and learner.",
    "ratio_diff_max": "Largest |ratio - 1| at a step's first update; 0 on-policy but for rounding.",
    "staleness": "Mean age of the trained tokens, in updates.",
    "staleness_max": "Age of the oldest trained token, in updates.",
    "rollout_workers": "Rollout workers that the run wants.",
    "version_bytes": "Bytes of the weights that the learner published last.",
    "by_collective": "Share of the rollout workers that the newest weights went straight to, not through the store.",
    "rollout_busy": "Share of their time in which rollout workers wrote responses.",
    "rollout_tokens_per_s": "Tokens of responses a second of an engine's GPU (on CPUs of a worker), while it writes.",
}
RUN_STATES = ("running", "paused", "stopping")


class RunMetrics:
    """Gauges and counters of one run. Ray forgets them some time after the run's process ended.

    All are called `curlvpr_…`; Ray puts `ray_` before that. docs/observability.md lists them.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.numbers = {name: self._gauge(name, words) for name, words in STEP_NUMBERS.items()}
        self.own = self._gauge("own_reward", "Mean of a rule of the recipe's own, 0 to 1.", "rule")
        self.own_failed = self._gauge("own_failed", "Share of responses for which that rule has no value.", "rule")
        self.teacher_kl = self._gauge("teacher_kl_of_family", "The same for a family of tasks.", "family")
        self.step_ended = self._gauge("step_ended_at_seconds", "When the newest step ended, in seconds since 1970.")
        self.step_seconds = self._gauge("step_seconds", "Seconds of the newest step, evaluations and commits left out.")
        self.score = self._gauge("score", "Newest score of held-out tasks.", "measure", "split")
        self.stage = self._gauge("stage", "1 for the present stage of the curriculum.", "stage")
        self.state = self._gauge("state", "1 for the present state of the run.", "state")
        self.workers = self._gauge("workers", "Workers by state.", "kind", "state")
        self.groups = self._gauge("groups", "Groups of responses by what became of them.", "state")
        self.phase_seconds = self._counter("phase_seconds", "Seconds of the run by what they were spent on.", "phase")
        # No counter: one that begins with the first death shows no increase by it.
        self.deaths = self._gauge(
            "worker_deaths", "Workers that died, or did not answer, since the process began.", "kind"
        )
        self.items = self._counter("worker_items", "Groups written, or responses scored, by worker.", "kind", "worker")
        self.busy = self._counter(
            "worker_busy_seconds", "Seconds between a worker's orders and its answers.", "kind", "worker"
        )
        self._stages: set[str] = set()

    def add(self, row: Mapping[str, Any]) -> None:
        """A row of metrics.parquet: a step, or an evaluation."""
        if row["event"] == "step":
            self._add_step(row)
            return
        for measure, value in row.items():
            if isinstance(value, float):
                self.score.set(value, {"measure": measure, "split": row["event"].split()[0]})

    def report(self, status: Mapping[str, Any], pools: Iterable[WorkPool]) -> None:
        """The run's status (`Requests.status`), and its workers."""
        for state in RUN_STATES:
            self.state.set(float(status["status"] == state), {"state": state})
        for state, count in status["ledger"].items():
            self.groups.set(count, {"state": state})
        for pool in pools:
            states = pool.states()
            for state in State:
                self.workers.set(states.get(state, 0), {"kind": pool.kind, "state": str(state)})
            self.deaths.set(pool.deaths, {"kind": pool.kind})

    def worked(self, kind: str, span: WorkSpan) -> None:
        """A worker answered a share."""
        labels = {"kind": kind, "worker": span.worker}
        self.items.inc(span.items, labels)
        self.busy.inc(span.seconds, labels)

    def _add_step(self, row: Mapping[str, Any]) -> None:
        self.step_ended.set(time.time())
        self.step_seconds.set(sum(row.get(f"seconds_{phase}", 0.0) for phase in STEP_PHASES))
        self._stages.add(row["stage"])
        for stage in self._stages:
            self.stage.set(float(stage == row["stage"]), {"stage": stage})
        for name, value in row.items():
            if name in self.numbers:
                self.numbers[name].set(value)
            elif name.startswith("teacher_kl_"):
                self.teacher_kl.set(value, {"family": name.removeprefix("teacher_kl_")})
            elif name.startswith("own_") and name.endswith("_failed"):
                self.own_failed.set(value, {"rule": name.removeprefix("own_").removesuffix("_failed")})
            elif name.startswith("own_"):
                self.own.set(value, {"rule": name.removeprefix("own_")})
            elif name.startswith("seconds_"):
                self.phase_seconds.inc(value, {"phase": name.removeprefix("seconds_")})

    def _gauge(self, name: str, words: str, *labels: str) -> Gauge:
        return self._labelled(Gauge, name, words, labels)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return self._labelled(Counter, name, words, labels)

    def _labelled(self, kind: type, name: str, words: str, labels: tuple[str, ...]) -> Any:
        metric = kind(f"curlvpr_{name}", words, ("run", *labels))
        metric.set_default_tags({"run": self.run})
        return metric
