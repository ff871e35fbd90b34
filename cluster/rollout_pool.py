"""The run's handle on its rollout workers: starts them, splits work among them, gathers it in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from actors.encode import PromptConfig
from actors.rollout import RolloutConfig, RolloutWorker
from actors.trajectory import Group, Request
from actors.waiting import wait_for_all

from .work_pool import shares


class RolloutPool:
    """Every worker takes an equal, contiguous share of the requests, so that who does what never depends on timing.

    Args:
        store: the `WeightStore` actor, or None: then every worker holds the model folder's own weights, as version 0.
        images: most images that a task has.
    """

    def __init__(self, run: str, config: RolloutConfig, model: Path, prompt: PromptConfig, store: Any, images: int) -> None:
        self.config = config
        self.names = [f"rollout-{rank}" for rank in range(config.workers)]
        actor = ray.remote(RolloutWorker)
        self.workers = [
            actor.options(name=f"{run}/{name}", num_cpus=config.cpus, num_gpus=config.gpus, max_concurrency=8)
            .remote(rank, config, str(model), prompt, store, images)
            for rank, name in enumerate(self.names)]
        self._starting = [worker.start.remote() for worker in self.workers]

    def ready(self) -> None:
        """Waits until every engine stands. Raises RemoteFailure."""
        wait_for_all(self._starting, self.config.timeout_s, self.names)

    def update(self, version: int) -> float:
        """Every worker takes the version and proves that it holds it.

        Returns:
            The largest log-probability difference over the probes of all workers.

        Raises:
            RemoteFailure: a worker does not hold the version, or did not answer.
        """
        return max(wait_for_all([w.update.remote(version) for w in self.workers], self.config.timeout_s, self.names))

    def generate(self, requests: Sequence[Request], temperature: float, version: int) -> list[Group]:
        """A group for each request, in order. Raises RemoteFailure."""
        parts = shares(requests, len(self.workers))
        refs = [worker.generate.remote(share, temperature, version) for worker, share in zip(self.workers, parts, strict=True)]
        return [group for part in wait_for_all(refs, self.config.timeout_s, self.names) for group in part]

    def stop(self) -> None:
        ray.wait([w.stop.remote() for w in self.workers], num_returns=len(self.workers), timeout=20)
        for worker in self.workers:
            ray.kill(worker)
