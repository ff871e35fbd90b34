"""The run's handle on its rollout workers. One that dies or hangs is replaced, and its requests go to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray

from actors.model.config import Lora
from actors.model.encode import PromptConfig
from actors.rollout.config import RolloutConfig
from actors.rollout.worker import RolloutWorker
from actors.runtime.remote import wait_for
from actors.runtime.restart_policy import Restarts
from actors.trajectory import Group, Request
from actors.weights.transports import TRANSPORTS
from actors.weights.transports.base import Transport
from actors.weights.version import ASLEEP, Version
from cluster.pools.pool_config import WorkPoolConfig
from cluster.pools.shares import Batch, Failed
from cluster.pools.work_pool import SHORT_S, WorkPool
from cluster.pools.worker_health import Limits

TRIES = 3  # how many workers a request may bring down before it is given up
SHARES = 2  # that a worker may have at once: it begins the next while the last responses of one are written
BEAT_S = 5.0
MIN_SHARE_S = 60
STORE_S = 10  # for the weight store's answer
CLOSE_S = 2  # for workers that end
PLACEMENT = {"pack": "DEFAULT", "spread": "SPREAD"}  # in Ray's words


class RolloutPool:
    """Every worker takes an equal, contiguous share of the requests, so that timing never decides which worker does
    what.

    Args:
        store: the `WeightStore` actor, or None: then every worker holds the model folder's own weights, as version 0.
        images: the largest number of images that a task has.
        transport: the way by which new weights come.
        lora: of the learner, if new weights are its adapters alone.

    Attributes:
        tokens: of all responses that have come.
    """

    def __init__(
        self,
        run: str,
        config: RolloutConfig,
        model: Path,
        prompt: PromptConfig,
        store: Any,
        images: int,
        transport: Transport = TRANSPORTS["store"],
        lora: Lora | None = None,
    ) -> None:
        self.config, self.store = config, store
        self.tokens = 0
        actor = ray.remote(RolloutWorker)

        def start(rank: int, name: str) -> Any:
            return actor.options(
                name=name,
                num_cpus=config.cpus,
                num_gpus=config.gpus,
                max_concurrency=8,
                scheduling_strategy=PLACEMENT[config.placement],
            ).remote(rank, config, str(model), prompt, store, images, transport, lora)

        def update(worker: Any, version: Version) -> Any:
            return worker.update.remote(version)

        settings = WorkPoolConfig(
            run,
            "rollout",
            config.workers,
            Limits(config.timeout_s, config.silent_s / 3, config.silent_s, "rollout.timeout_s"),
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
        """Waits until every engine is up. Raises RemoteFailure."""
        self.pool.wait_until_ready()

    def begin_update(self, version: Version, after_previous: bool, meanwhile: Callable[[], None]) -> None:
        """Brings every worker to a version, which it proves that it holds, without waiting. Until then it gets no
        requests.

        Args:
            after_previous: wait first until all workers hold the previous version.
            meanwhile: is called again and again during that wait.

        Raises:
            RemoteFailure: no worker holds the previous version, and none can be started.
        """
        if after_previous:
            self.pool.wait_until_current(meanwhile)
        self.pool.begin_version(version)

    def receivers(self) -> dict[str, str]:
        """Names, by actor id, of the workers that were sent the current version and have not proved yet that they hold
        it.
        """
        return self.pool.receivers()

    def wait_until_current(self, meanwhile: Callable[[], None]) -> float:
        """Waits until every worker that is up has proved that it holds the current version; one that cannot is
        replaced.

        Returns:
            The largest log-probability difference over the probes of all workers.

        Raises:
            RemoteFailure: no worker holds the version, and none can be started.
        """
        return max(self.pool.wait_until_current(meanwhile))

    def cancel_version(self) -> None:
        """The version that workers were sent last does not come; another one will. Raises RemoteFailure."""
        if self.pool.version is not None:
            wait_for(self.store.cancel.remote(self.pool.version), STORE_S, "the weight store")
        self.pool.cancel_version()

    def sleep(self) -> None:
        """Every worker gives its GPU memory back, until the next version. Raises RemoteFailure."""
        self.pool.update(ASLEEP)

    def submit(
        self, requests: Sequence[Request], temperature: float, arrived: Callable[[Group], None] | None = None
    ) -> Batch:
        """Requests a group for each of `requests`, from the weights that the pool was brought to last.

        If new weights come meanwhile, the responses that are being written go on with those.

        Args:
            arrived: is called with each group as soon as it has come.
        """

        def generate(worker: Any, share: Sequence[Request]) -> Any:
            return worker.generate.remote(share, temperature, self.pool.version)

        def count(group: Group) -> None:
            self.tokens += sum(len(trajectory.ids) for trajectory in group.trajectories)
            if arrived is not None:
                arrived(group)

        return self.pool.submit(requests, generate, self.config.timeout_s, count)

    def gather(self, batch: Batch, meanwhile: Callable[[], None] | None = None) -> list[Group | Failed]:
        """Waits for a batch: for each request, in order, a group, or why no worker could make it.

        Args:
            meanwhile: is called again and again during the wait.

        Raises:
            RemoteFailure: no worker is left, and none can be started.
        """
        return self.pool.gather(batch, meanwhile)

    def pump(self, meanwhile: Callable[[], None]) -> None:
        """One short turn: hands out requests and takes in groups. Calls `meanwhile` once. Raises RemoteFailure."""
        self.pool.pump(SHORT_S)
        meanwhile()

    def generate(self, requests: Sequence[Request], temperature: float) -> list[Group | Failed]:
        """`submit` and `gather` in one."""
        return self.gather(self.submit(requests, temperature))

    def discard_all(self) -> None:
        """Drops what was submitted and not gathered."""
        self.pool.discard_all()

    def stop(self) -> None:
        """Ends the workers, after those that are up have left their nodes' caches of films."""
        closing = [worker.actor.close.remote() for worker in self.pool.workers.values() if worker.node]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_S)
        self.pool.stop()
