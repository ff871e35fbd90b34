"""The run's handle on its reward workers. A response that crashes or hangs its worker costs only its own verdict."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import ray

from actors.reward import Response, RewardWorker, RewardWorkersConfig
from actors.runtime.restart_policy import Restarts
from actors.trajectory import Group
from cluster.pools.pool_config import WorkPoolConfig
from cluster.pools.shares import Failed
from cluster.pools.work_pool import WorkPool
from cluster.pools.worker_health import Limits
from rewards.verdict import Verdict, unscored

LIMITS = Limits(start_s=120)


class RewardPool:
    """Every worker takes an equal share of the responses; which worker scores a response never changes its verdict.

    Args:
        meanwhile: is called again and again during the wait for verdicts.
    """

    def __init__(self, run: str, config: RewardWorkersConfig, meanwhile: Callable[[], None] | None = None) -> None:
        self.config = config
        self.meanwhile = meanwhile
        actor = ray.remote(RewardWorker)
        folder = os.getcwd()

        def start(rank: int, name: str) -> Any:
            return actor.options(name=name, num_cpus=config.cpus).remote(rank, config, folder)

        settings = WorkPoolConfig(run, "reward", config.workers, LIMITS, min_share_s=config.response_timeout_s)
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
            return worker.score.remote(share, evaluation)

        results = self.pool.map(responses, send, self.config.timeout_s, self.meanwhile)
        verdicts = iter([unscored(result.why) if isinstance(result, Failed) else result for result in results])
        return [tuple(next(verdicts) for _ in group.trajectories) for group in groups]

    def stop(self) -> None:
        """Kills every worker."""
        self.pool.stop()
