"""The run's handle on its reward workers. A response that crashes or hangs its worker costs only its own verdict."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from actors.reward import Response, RewardWorker, RewardWorkersConfig
from actors.runtime.remote import RemoteFailure, wait_for
from actors.runtime.restart_policy import Restarts
from actors.trajectory import Group
from cluster.errors import UserError
from cluster.pools.pool_config import WorkPoolConfig
from cluster.pools.rule_faults import fault_lines
from cluster.pools.rule_workers import start_rule_workers
from cluster.pools.shares import Batch, Failed
from cluster.pools.work_pool import WorkPool
from cluster.pools.worker_health import Limits
from rewards.custom_rules import RuleError, waits
from rewards.verdict import Verdict, unscored

LIMITS = Limits(start_s=120)
WAITING_LIMITS = Limits(start_s=1800, suspect_s=120, dead_s=180)  # a rule may load a model, and keep a worker busy
SHARES_EACH = 16  # of a worker that waits: groups are scored as they come
BEAT_S = 5.0
WAITING_SHARE_S = 86_400.0  # every call of a rule has a limit of its own; this one only ends what has no end
NOTES_S = 10.0


@dataclass(frozen=True)
class Sent:
    """A group at the workers: its verdicts are those of a batch from number `first` on."""

    group: Group
    batch: Batch
    first: int


class RewardPool:
    """Scores groups as they come: `add` each one when it arrives, and `take` its verdicts when they are needed.

    A verdict depends on its response alone: which worker gives it, when, and in which order groups arrive changes
    nothing.

    Args:
        meanwhile: is called again and again during the wait for verdicts.
        cache: the folder for values of own rules that are kept on disk; the workers must reach it.

    Raises:
        UserError: an own rule cannot be loaded.

    Attributes:
        waits: whether an own rule waits. Then a worker has several shares at once and shows by beats that it is alive:
            how long a share takes says nothing.
    """

    def __init__(
        self,
        run: str,
        config: RewardWorkersConfig,
        meanwhile: Callable[[], None] | None = None,
        cache: Path | None = None,
    ) -> None:
        self.config = config
        self.meanwhile = meanwhile
        self.waits = _some_rule_waits(config)
        folder = os.getcwd()
        self.rule_workers = start_rule_workers(run, config.rules.own, folder)
        actor = ray.remote(RewardWorker)
        threads = SHARES_EACH + 2 if self.waits else 1  # with one for beats, and one for notes

        def start(rank: int, name: str) -> Any:
            options = actor.options(name=name, num_cpus=config.cpus, max_concurrency=threads)
            return options.remote(rank, config, folder, self.rule_workers, cache)

        settings = WorkPoolConfig(run, "reward", config.workers, LIMITS, min_share_s=config.response_timeout_s)
        if self.waits:  # a worker that is lost takes innocent shares along, so a single response has three tries
            settings = replace(settings, limits=WAITING_LIMITS, beat_s=BEAT_S, shares_each=SHARES_EACH, tries=3)
        # If a rule is bad, many responses crash it. Each costs a worker, and waiting would help nobody.
        self.pool = WorkPool(settings, start, Restarts(limit=1000, window_s=600, backoff_s=0))
        self.waiting: dict[bool, list[Group]] = {False: [], True: []}  # not sent yet, by whether for an evaluation
        self.sent: dict[str, Sent] = {}  # by the group's id

    def add(self, group: Group, evaluation: bool = False) -> None:
        """Has a group scored; the next `pump` sends it, along with what else has come by then.

        Args:
            evaluation: whether the verdicts are for an evaluation; a control experiment affects training only.
        """
        self.waiting[evaluation].append(group)

    def pump(self) -> None:
        """Sends what was added, and keeps the workers at work. Raises RemoteFailure."""
        self._send()
        self.pool.pump(0)

    def take(self, groups: Sequence[Group]) -> list[tuple[Verdict, ...]]:
        """Waits for the verdicts on groups. One that was not added, or not as it is now, is scored now.

        Returns:
            For each group, in order, the verdicts of its responses. A response that no worker could score has the
            verdict "not scored", with the reason.

        Raises:
            RemoteFailure: no worker is left, and none can be started.
        """
        self._send()
        for group in groups:
            if group.group_id not in self.sent or self.sent[group.group_id].group is not group:
                self.add(group)
        self._send()
        sent_groups = [self.sent.pop(group.group_id) for group in groups]
        batches = dict.fromkeys(sent.batch for sent in sent_groups)
        verdicts_of = {batch: self._gather(batch) for batch in batches}
        taken = []
        for group, sent in zip(groups, sent_groups, strict=True):
            taken.append(tuple(verdicts_of[sent.batch][sent.first : sent.first + len(group.trajectories)]))
        self.report([verdict for verdicts in taken for verdict in verdicts])
        return taken

    def known(self, group: Group) -> tuple[Verdict, ...] | None:
        """The verdicts on a group that was added, without waiting; None if one is missing. `take` still gives them."""
        sent = self.sent.get(group.group_id)
        if sent is None or sent.group is not group:
            return None
        results = sent.batch.results[sent.first : sent.first + len(group.trajectories)]
        return None if any(result is None for result in results) else _verdicts(results)

    def drop(self, group_id: str) -> None:
        """No verdict on this group is needed any more."""
        for groups in self.waiting.values():
            groups[:] = [group for group in groups if group.group_id != group_id]
        self.sent.pop(group_id, None)

    def discard_all(self) -> None:
        """Drops everything that was added and not taken."""
        for groups in self.waiting.values():
            groups.clear()
        self.sent.clear()
        self.pool.discard_all()

    def _send(self) -> None:
        for evaluation, groups in self.waiting.items():
            if groups:
                self._send_batch(groups, evaluation)
                groups.clear()

    def _send_batch(self, groups: Sequence[Group], evaluation: bool) -> None:
        responses: list[Response] = []
        first_of = []
        for group in groups:
            first_of.append(len(responses))
            for index, trajectory in enumerate(group.trajectories):
                responses.append(Response(group.task, index, trajectory.text, trajectory.truncated))

        def send(worker: Any, share: Sequence[Response]) -> Any:
            return worker.score.remote(share, evaluation, self.pool.size)

        batch = self.pool.submit(responses, send, self.share_limit_s)
        for group, first in zip(groups, first_of, strict=True):
            self.sent[group.group_id] = Sent(group, batch, first)

    def _gather(self, batch: Batch) -> list[Verdict]:
        return list(_verdicts(self.pool.gather(batch, self.meanwhile)))

    @property
    def share_limit_s(self) -> float:
        """How long a worker may have a share."""
        return WAITING_SHARE_S if self.waits else self.config.timeout_s

    def report(self, verdicts: Sequence[Verdict]) -> None:
        """Adds to the pool's events which own rules have no value for some responses, and what the rules note."""
        self.pool.lifecycle.events += fault_lines(verdicts)
        if not self.waits:
            return
        for worker in self.pool.workers.values():
            if worker.started:
                with contextlib.suppress(RemoteFailure):  # a worker that is lost is an event of its own
                    notes = wait_for(worker.actor.take_notes.remote(), NOTES_S, worker.title)
                    self.pool.lifecycle.events += [f"{worker.name}: {note}" for note in notes]

    def stop(self) -> None:
        """Kills every worker."""
        self.pool.stop()
        for actors in self.rule_workers.values():
            for actor in actors:
                ray.kill(actor)


def _verdicts(results: Sequence[Verdict | Failed]) -> tuple[Verdict, ...]:
    return tuple(unscored(result.why) if isinstance(result, Failed) else result for result in results)


def _some_rule_waits(config: RewardWorkersConfig) -> bool:
    try:
        return any(waits(own) for own in config.rules.own.values())
    except RuleError as error:
        raise UserError(str(error)) from error
