"""Which version of the weights the workers of a pool must hold, and how each is brought to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cluster.pools.shares import Call
from cluster.pools.worker_handle import WorkerHandle
from cluster.pools.worker_health import State

UpdateActor = Callable[[Any, Any], Any]
"""Brings an actor to a version; its reference yields the proof that the actor holds it."""
NO_WEIGHTS = "no weights"  # the version of workers that have none


class Versions:
    """A worker gets shares only while it holds the current version.

    Args:
        kind: of the workers, for errors.
        update: brings an actor to a version; None if workers keep the version that they start with.
        built_in: that version. It is not used if there is an `update`.

    Attributes:
        current: the version that workers must hold; None before the first one, and after one was cancelled.
    """

    def __init__(self, kind: str, update: UpdateActor | None, built_in: Any) -> None:
        self.kind = kind
        self.update = update
        self.current = None if update else built_in

    @property
    def fixed(self) -> bool:
        """Whether workers keep the version that they start with."""
        return self.update is None

    def begin(self, version: Any) -> None:
        """Makes `version` the current one. Raises ValueError if workers keep the one that they start with."""
        if self.fixed:
            raise ValueError(f"{self.kind} workers hold no version")
        self.current = version

    def require(self) -> None:
        """Raises ValueError if there is no current version."""
        if self.current is None:
            raise ValueError(f"{self.kind} workers hold no version yet; update comes first")

    def cancel(self) -> None:
        """Leaves the pool without a current version."""
        self.current = None

    def bring(self, workers: Iterable[WorkerHandle], now: float, limit_s: float) -> None:
        """Sends the current version to every worker that is up, does not hold it, and is not taking one."""
        if self.update is None or self.current is None:
            return
        for worker in workers:
            if worker.started and worker.health.version != self.current and not worker.pending["update"]:
                call = Call("update", now, limit_s, version=self.current)
                worker.register(self.update(worker.actor, self.current), call)

    def superseded(self, call: Call) -> bool:
        """Whether `call` was to bring a worker to a version that is not the current one any more."""
        return call.kind == "update" and call.version != self.current

    def receivers(self, workers: Iterable[WorkerHandle]) -> dict[str, str]:
        """Titles, by actor id, of the live workers that were sent the current version and have not proved it yet."""
        titles = {}
        for worker in workers:
            alive = worker.health.state in (State.SYNCING, State.READY)
            if alive and any(call.kind == "update" and call.version == self.current for call in worker.calls.values()):
                titles[worker.actor._actor_id.hex()] = worker.title
        return titles
