"""The run's handle on its rollout workers. Who dies or hangs is replaced, and its requests go to another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from actors.model.encode import PromptConfig
from actors.rollout.config import RolloutConfig
from actors.rollout.worker import RolloutWorker
from actors.runtime.remote import wait_for
from actors.runtime.restart_policy import Restarts
from actors.trajectory import Group, Request
from actors.weights.store import ASLEEP, Version
from cluster.pools.pool_config import WorkPoolConfig
from cluster.pools.shares import Batch, Failed
from cluster.pools.work_pool import WorkPool
from cluster.pools.worker_health import Limits

TRIES = 3  # how many workers a request may cost before it is given up
SHARES = 2  # that a worker may have at once: while the last responses of one are written, the next is begun
BEAT_S = 5.0
MIN_SHARE_S = 60
PLACEMENT = {"pack": "DEFAULT", "spread": "SPREAD"}  # in Ray's words


class RolloutPool:
    """Every worker takes an equal, contiguous share of the requests, so that who does what never depends on timing.

    Args:
        store: the `WeightStore` actor, or None: then every worker holds the model folder's own weights, as version 0.
        images: most images that a task has.
        collective: weights come straight from the learner: workers are told of a version before it is published.
    """

    def __init__(
        self,
        run: str,
        config: RolloutConfig,
        model: Path,
        prompt: PromptConfig,
        store: Any,
        images: int,
        collective: bool = False,
    ) -> None:
        self.config, self.store = config, store
        actor = ray.remote(RolloutWorker)

        def start(rank: int, name: str) -> Any:
            return actor.options(
                name=name,
                num_cpus=config.cpus,
                num_gpus=config.gpus,
                max_concurrency=8,
                scheduling_strategy=PLACEMENT[config.placement],
            ).remote(rank, config, str(model), prompt, store, images)

        def update(worker: Any, version: Version) -> Any:
            return worker.update.remote(version, collective)

        settings = WorkPoolConfig(
            run,
            "rollout",
            config.workers,
            Limits(config.timeout_s, config.silent_s / 3, config.silent_s),
            min_share_s=MIN_SHARE_S,
            tries=TRIES,
            beat_s=BEAT_S,
            shares_each=SHARES,
        )
        self.pool = WorkPool(
            settings,
            start,
            Restarts(limit=20, window_s=1800, backoff_s=1),
            update=update if store is not None else None,
            built_in=Version(0, 0),
        )

    def ready(self) -> None:
        """Waits until every engine stands. Raises RemoteFailure."""
        self.pool.wait_until_ready()

    def update(self, version: Version) -> float:
        """Every worker takes the version and proves that it holds it; one that cannot is replaced.

        Returns:
            The largest log-probability difference over the probes of all workers.

        Raises:
            RemoteFailure: no worker holds the version, and none can be started.
        """
        return max(self.pool.update(version))

    def begin_update(self, version: Version) -> None:
        """As `update`, without waiting: who does not hold the version yet gets no requests. But all must hold the one before.

        Raises:
            RemoteFailure: as `update`, for the one before.
        """
        self.pool.wait_until_current()
        self.pool.begin_version(version)

    def withdraw(self) -> None:
        """The version that workers were told of last does not come; another will. Raises RemoteFailure."""
        if self.pool.version is not None:
            wait_for(self.store.withdraw.remote(self.pool.version), 10, "the weight store")
        self.pool.cancel_version()

    def sleep(self) -> None:
        """Every worker gives its GPU memory back, until the next `update`. Raises RemoteFailure."""
        self.pool.update(ASLEEP)

    def submit(self, requests: Sequence[Request], temperature: float) -> Batch:
        """Asks for a group for each request, by the weights that the pool was brought to last.

        New weights that come meanwhile go into the responses that are being written, too.
        """

        def generate(worker: Any, share: Sequence[Request]) -> Any:
            return worker.generate.remote(share, temperature, self.pool.version)

        return self.pool.submit(requests, generate, self.config.timeout_s)

    def gather(self, batch: Batch) -> list[Group | Failed]:
        """Waits for a batch: a group for each request, in order, or why no worker could make it. Raises RemoteFailure."""
        while not batch.done:
            self.pool.pump()
        return batch.results

    def generate(self, requests: Sequence[Request], temperature: float) -> list[Group | Failed]:
        """`submit` and `gather` in one."""
        return self.gather(self.submit(requests, temperature))

    def forget(self) -> None:
        """Drops what was submitted and not gathered."""
        self.pool.discard_all()

    def stop(self) -> None:
        self.pool.stop()
