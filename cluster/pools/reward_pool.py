"""The run's handle on its reward workers. A response that crashes or hangs its worker costs its own verdict alone."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import ray

from actors.reward import Response, RewardWorker, RewardWorkersConfig
from actors.runtime.restart_policy import Restarts
from actors.trajectory import Group
from cluster.pools.shares import Failed
from cluster.pools.work_pool import WorkPool
from cluster.pools.worker_health import Limits
from rewards.verdict import Verdict, unscored

LIMITS = Limits(start_s=120)
# Where a rule is bad, many responses crash it; each costs a worker, and waiting would help nobody.
RESTARTS = dict(limit=1000, window_s=600, backoff_s=0)


class RewardPool:
    """Every worker takes an equal share; which worker scores what changes no verdict.

    Args:
        meanwhile: is called again and again while verdicts are waited for.
    """

    def __init__(self, run: str, config: RewardWorkersConfig, meanwhile: Callable[[], None] | None = None) -> None:
        self.config, self.meanwhile = config, meanwhile
        actor, folder = ray.remote(RewardWorker), os.getcwd()

        def start(rank: int, name: str) -> Any:
            return actor.options(name=name, num_cpus=config.cpus).remote(rank, config, folder)

        self.pool = WorkPool(
            run, "reward", config.workers, start, LIMITS, Restarts(**RESTARTS), config.response_timeout_s
        )

    def score(self, groups: Sequence[Group], evaluation: bool = False) -> list[tuple[Verdict, ...]]:
        """The verdicts of each group's responses, in order.

        Raises:
            RemoteFailure: no worker is left, and none can be started.
        """
        responses = [
            Response(group.task, index, t.text, t.truncated)
            for group in groups
            for index, t in enumerate(group.trajectories)
        ]
        scored = self.pool.map(
            responses,
            lambda worker, share: worker.score.remote(share, evaluation),
            self.config.timeout_s,
            self.meanwhile,
        )
        verdicts = deque(unscored(v.why) if isinstance(v, Failed) else v for v in scored)
        return [tuple(verdicts.popleft() for _ in group.trajectories) for group in groups]

    def stop(self) -> None:
        self.pool.stop()
