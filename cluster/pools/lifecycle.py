"""The workers of a pool from their start to their end: started, watched, replaced, drained."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from actors.runtime.remote import RemoteFailure
from actors.runtime.restart_policy import Restarts
from cluster.pools.dispatcher import Dispatcher
from cluster.pools.pool_config import WorkPoolConfig
from cluster.pools.ray_nodes import draining_nodes
from cluster.pools.shares import Call
from cluster.pools.worker_handle import WorkerHandle
from cluster.pools.worker_health import Health, State

CHECK_S = 0.25  # between two searches for overdue answers
NODES_S = 5.0  # between two looks at the nodes


class Lifecycle:
    """Keeps `size` workers alive. The shares of a worker that goes return to the dispatcher.

    Args:
        start: starts the actor of a rank under a name. The actor's method `ready` answers with the id of its node once
            it is up.
        kill: ends an actor.

    Attributes:
        size: how many workers there should be.
        workers: by rank.
        started: how many workers were started so far.
        deaths: how many workers died or were given up as dead.
        last_death: why the last of them died.
        proven: whether any worker was ever ready. Before that a death ends the run: waiting would help nobody.
        events: what went wrong, in words; the reader empties the list.
    """

    def __init__(
        self,
        config: WorkPoolConfig,
        start: Callable[[int, str], Any],
        kill: Callable[[Any], None],
        restarts: Restarts,
        dispatcher: Dispatcher,
    ) -> None:
        self.config = config
        self.size = config.size
        self.restarts = restarts
        self.dispatcher = dispatcher
        self._start_actor = start
        self._kill_actor = kill
        self.workers: dict[int, WorkerHandle] = {}
        self.started = 0
        self.deaths = 0
        self.last_death = ""
        self.proven = False
        self.events: list[str] = []
        self._nodes_checked = self._overdue_checked = time.monotonic()

    def count(self, *states: State) -> int:
        """How many workers are in one of the states."""
        return sum(worker.health.state in states for worker in self.workers.values())

    def leave_nodes(self, now: float) -> None:
        """Removes workers of nodes that are about to go (a spot machine is taken back). Their shares go to others."""
        if now - self._nodes_checked < NODES_S:
            return
        self._nodes_checked = now
        draining = draining_nodes()
        leaving = [worker for worker in self.workers.values() if worker.node in draining]
        for worker in leaving:
            for call in worker.calls.values():
                if call.share:
                    self.dispatcher.put_back(call.share)
            self.events.append(f"{worker.title}: node is draining; its work is reassigned")
            worker.health.died("its node goes", now)
            self._remove(worker)

    def fit(self, now: float) -> None:
        """Drains surplus workers, removes those that have finished, and starts missing ones.

        Raises:
            RemoteFailure: no worker is left, and none may be started.
        """
        staying = [worker for worker in self.workers.values() if worker.health.state is not State.DRAINING]
        by_rank = sorted(staying, key=lambda worker: worker.rank)
        for worker in by_rank[self.size :]:
            worker.health.drain(now)
        going = [worker for worker in self.workers.values() if worker.health.state in (State.DRAINING, State.DEAD)]
        for worker in going:
            if not worker.pending["work"]:
                worker.health.idle(now)
            if not worker.health.alive:
                self._remove(worker)
        for _ in range(self.size - len(staying)):
            wait = self.restarts.wait_s(now)
            if wait is None and not staying:
                raise RemoteFailure(
                    f"{len(self.restarts.deaths)} {self.config.kind} workers died within "
                    f"{self.restarts.window_s:g} s; the last: {self.last_death}"
                )
            if wait != 0:
                break
            self._start(now)

    def beat(self, now: float) -> None:
        """Asks workers that have been silent for `beat_s` for a sign of life."""
        beat_s = self.config.beat_s
        if beat_s is None:
            return
        for worker in self.workers.values():
            silent_s = now - worker.health.heard_at  # any answer is a sign of life
            starting = worker.health.state is State.STARTING
            if not starting and silent_s >= beat_s and not worker.pending["beat"]:
                worker.health.pinged(now)
                worker.register(worker.actor.ping.remote(), Call("beat", now))

    def replace_unresponsive(self, now: float) -> None:
        """Gives up workers that are silent for too long, or that have not answered a call within its limit."""
        if now - self._overdue_checked < CHECK_S:
            return
        self._overdue_checked = now
        for worker in list(self.workers.values()):
            if self.config.beat_s is not None or worker.health.state is State.STARTING:
                worker.health.tick(now)
            overdue = [call for call in worker.calls.values() if call.since + call.limit_s <= now]
            if not worker.health.alive:
                self.lose(worker, f"{worker.title} {worker.health.why}")
            elif overdue:
                call = overdue[0]
                self.lose(worker, f"{worker.title} did not answer its {call.kind} within {call.limit_s:g} s")

    def lose(self, worker: WorkerHandle, why: str) -> None:
        """Buries a worker that is dead or as good as dead. Its shares go to others.

        Raises:
            RemoteFailure: no worker was ever ready, so that another one is not worth a try.
        """
        now = time.monotonic()
        worker.health.died(why, now)
        self.last_death = why
        self.deaths += 1
        if not self.proven:
            raise RemoteFailure(why)
        self.restarts.died(now)
        replaceable = self.restarts.wait_s(now) is not None
        outcome = "another is started" if replaceable else "too many died; it is not replaced"
        self.events.append(f"{why}; {outcome}")
        for call in worker.calls.values():
            if call.share:
                self.dispatcher.retry(call.share, why)
        worker.drop_calls()
        self._remove(worker)

    def stop(self) -> None:
        """Kills every worker."""
        for worker in self.workers.values():
            self._kill_actor(worker.actor)
        self.workers.clear()

    def states(self) -> dict[str, int]:
        """How many workers are in which state."""
        return dict(Counter(str(worker.health.state) for worker in self.workers.values()))

    def _start(self, now: float) -> None:
        rank = min(set(range(len(self.workers) + 1)) - self.workers.keys())
        self.started += 1
        first_start = self.started <= self.size and not self.proven
        name = f"{self.config.kind}-{rank}" if first_start else f"{self.config.kind}-{rank}-start-{self.started}"
        actor = self._start_actor(rank, f"{self.config.run}/{name}")
        worker = WorkerHandle(rank, name, actor, Health(self.config.limits, now))
        worker.register(actor.ready.remote(), Call("start", now))
        self.workers[rank] = worker

    def _remove(self, worker: WorkerHandle) -> None:
        self._kill_actor(worker.actor)
        del self.workers[worker.rank]
