"""The run's handle on its reward workers. A response that crashes or hangs its worker costs only its own verdict."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
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
from cluster.pools.shares import Failed
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


class RewardPool:
    """Every worker takes an equal share of the responses; which worker scores a response never changes its verdict.

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

    def score(self, groups: Sequence[Group], evaluation: bool = False) -> list[tuple[Verdict, ...]]:
        """Scores every response.

        Args:
            evaluation: whether verdicts are for an evaluation; a control experiment affects training only.

        Returns:
            For each group, in order, the verdicts of its responses. A response that no worker could score has the
            verdict "not scored", with the reason.

        Raises:
            RemoteFailure: no worker is left, and none can be started.
        """
        responses = []
        for group in groups:
            for index, trajectory in enumerate(group.trajectories):
                responses.append(Response(group.task, index, trajectory.text, trajectory.truncated))

        def send(worker: Any, share: Sequence[Response]) -> Any:
            return worker.score.remote(share, evaluation, self.pool.size)

        results = self.pool.map(responses, send, self.share_limit_s, self.meanwhile)
        scored = [unscored(result.why) if isinstance(result, Failed) else result for result in results]
        self.report(scored)
        verdicts = iter(scored)
        return [tuple(next(verdicts) for _ in group.trajectories) for group in groups]

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


def _some_rule_waits(config: RewardWorkersConfig) -> bool:
    try:
        return any(waits(own) for own in config.rules.own.values())
    except RuleError as error:
        raise UserError(str(error)) from error
