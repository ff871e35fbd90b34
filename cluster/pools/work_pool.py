"""Workers that share work, and that come, go and fail while they do.

A pool has no thread of its own: `pump` does what is due. Its three parts keep their own state: the `Dispatcher` queues
    shares
and hands them out, the `Lifecycle` starts, watches and replaces workers, and `Versions` brings them to the current
weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray

from actors.runtime.remote import CallFailed, RemoteFailure, wait_for
from actors.runtime.restart_policy import Restarts
from cluster.pools.dispatcher import Dispatcher
from cluster.pools.lifecycle import Lifecycle
from cluster.pools.pool_config import WorkPoolConfig
from cluster.pools.ray_nodes import node_address
from cluster.pools.shares import Arrived, Batch, Call, SendShare, WorkSpan
from cluster.pools.versions import NO_WEIGHTS, UpdateActor, Versions
from cluster.pools.worker_handle import WorkerHandle
from cluster.pools.worker_health import State

PUMP_S = 1.0  # the longest wait of one turn
SHORT_S = 0.02  # the same if another pool waits for its turn
MANY_CALLS = 32
LINGER_S = 0.02  # with many calls: a turn costs the same for one answer as for many
IDLE_S = 0.05  # the shortest pause if no call is unanswered
ANSWER_S = 60  # for an answer that Ray already has


class WorkPool:
    """Workers of one kind, and the work that they share.

    Args:
        start: starts the actor of a rank under a name. The actor's method `ready` answers with the id of its node once
            it is up.
        restarts: how soon, and how often, a worker that died is replaced.
        update: brings an actor to a version of the weights and has it prove that it holds that version. A worker that
            does not hold the current version gets no shares. None if workers keep the version that they start with.
        built_in: that version.
        kill: ends an actor.

    Attributes:
        busy_s: seconds that workers spent on shares, summed over the workers. (A worker with two shares counts once.)
        present_s: seconds for which workers could have worked, summed in the same way.
    """

    def __init__(
        self,
        config: WorkPoolConfig,
        start: Callable[[int, str], Any],
        restarts: Restarts,
        update: UpdateActor | None = None,
        built_in: Any = NO_WEIGHTS,
        kill: Callable[[Any], None] = ray.kill,
    ) -> None:
        self.config = config
        self.dispatcher = Dispatcher(config.shares_each, config.min_share_s, config.tries)
        self.lifecycle = Lifecycle(config, start, kill, restarts, self.dispatcher)
        self.versions = Versions(config.kind, update, built_in)
        self.busy_s = 0.0
        self.present_s = 0.0
        self._counted = time.monotonic()
        self.lifecycle.fit(time.monotonic())

    @property
    def kind(self) -> str:
        return self.config.kind

    @property
    def size(self) -> int:
        """How many workers there should be."""
        return self.lifecycle.size

    @property
    def workers(self) -> dict[int, WorkerHandle]:
        """The workers that there are, by rank."""
        return self.lifecycle.workers

    @property
    def version(self) -> Any:
        """The version that workers must hold; None before the first one, and after one was cancelled."""
        return self.versions.current

    @property
    def deaths(self) -> int:
        """How many workers died or were given up as dead."""
        return self.lifecycle.deaths

    def take_events(self) -> list[str]:
        """What went wrong since the last call, in words."""
        events = list(self.lifecycle.events)
        self.lifecycle.events.clear()
        return events

    def take_spans(self) -> list[WorkSpan]:
        """The shares that were answered since the last call."""
        spans = list(self.dispatcher.spans)
        self.dispatcher.spans.clear()
        return spans

    def count(self, *states: State) -> int:
        """How many workers are in one of the states."""
        return self.lifecycle.count(*states)

    def states(self) -> dict[str, int]:
        """How many workers are in which state."""
        return self.lifecycle.states()

    def scale(self, size: int) -> None:
        """Sets the number of workers; surplus workers finish their share first."""
        self.lifecycle.size = size

    # -- work ---------------------------------------------------------------------------------------------------------

    def map(
        self,
        items: Sequence[Any],
        send: SendShare,
        limit_s: float,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[Any]:
        """Submits a batch and waits for its results: `submit` and `gather` in one.

        Args:
            send: sends a share to an actor; its reference yields one result for each item.
            limit_s: for a worker's share.
            meanwhile: is called again and again during the wait.

        Returns:
            A result for each item, in order.

        Raises:
            RemoteFailure: no worker is left, and none may be started.
        """
        return self.gather(self.submit(items, send, limit_s), meanwhile)

    def gather(self, batch: Batch, meanwhile: Callable[[], None] | None = None) -> list[Any]:
        """Waits for a batch. Returns a result for each item, in order. Arguments and errors are those of `map`."""
        while not batch.done:
            self.pump(SHORT_S if meanwhile else PUMP_S)
            if meanwhile:
                meanwhile()
        return batch.results

    def submit(self, items: Sequence[Any], send: SendShare, limit_s: float, arrived: Arrived | None = None) -> Batch:
        """Queues an equal, contiguous share for each worker that may get one now or will soon.

        Args:
            send: as in `map`; or it gives a stream of results.
            arrived: is called with each result as soon as it has come, inside `pump`; not with failures.

        Raises:
            ValueError: the workers hold no version yet.
        """
        self.versions.require()
        workers = self.workers.values()
        present = sum(worker.health.alive and worker.health.state is not State.DRAINING for worker in workers)
        batch = self.dispatcher.submit(items, send, limit_s, max(1, present), arrived)
        self.dispatcher.hand_out(workers, self.version, time.monotonic())
        return batch

    def discard_all(self) -> None:
        """Drops everything that was submitted, answered or not."""
        self.dispatcher.discard_all(self.workers.values())

    # -- weights ------------------------------------------------------------------------------------------------------

    def update(self, version: Any) -> list[Any]:
        """Brings every worker that is up to `version` and waits until each has proved that it holds it.

        A worker that starts later takes the version then. One that cannot prove it is replaced before it gets a share.

        Returns:
            The proof of each worker.

        Raises:
            RemoteFailure: no worker is left, and none may be started.
        """
        self.begin_version(version)
        return self.wait_until_current()

    def begin_version(self, version: Any) -> None:
        """Like `update`, but without waiting: `pump` brings the workers there. Until then they get no shares."""
        self.versions.begin(version)
        self._bring_to_version(time.monotonic())

    def receivers(self) -> dict[str, str]:
        """Titles, by actor id, of the live workers that were sent the current version and have not proved it yet."""
        return self.versions.receivers(self.workers.values())

    def cancel_version(self) -> None:
        """Cancels the pending version. Workers get no shares until a new one begins.

        Failed updates to the cancelled version are not held against the workers. Waits for updates in progress.

        Raises:
            RemoteFailure: no worker is left, and none may be started.
        """
        self.versions.cancel()
        while any(worker.pending["update"] for worker in self.workers.values()):
            self.pump()

    def wait_until_current(self, meanwhile: Callable[[], None] = lambda: None) -> list[Any]:
        """Waits until every worker that is up holds the current version. Calls `meanwhile` again and again.

        Returns:
            The proof of each worker.

        Raises:
            RemoteFailure: no worker is left, and none may be started.
        """
        while True:
            workers = self.workers.values()
            up = [worker for worker in workers if worker.health.state not in (State.STARTING, State.DRAINING)]
            if up and all(worker.health.version == self.version for worker in up):
                return [worker.proof for worker in up]
            self.pump()
            meanwhile()

    # -- turns --------------------------------------------------------------------------------------------------------

    def wait_until_ready(self) -> None:
        """Waits until all workers are up.

        Raises:
            RemoteFailure: one could not start, and none was ready before.
        """
        while self.count(State.SYNCING, State.READY) < self.size:
            self.pump()

    def pump(self, wait_s: float = PUMP_S) -> None:
        """Does one turn: adjusts the number of workers, hands out shares, waits a little, and takes in answers.

        Raises:
            RemoteFailure: no worker is left, and none may be started; or a worker broke the contract of its calls.
        """
        now = time.monotonic()
        self._count_time(now)
        self.lifecycle.leave_nodes(now)
        self.lifecycle.fit(now)
        self.lifecycle.beat(now)
        self._bring_to_version(now)
        self.dispatcher.hand_out(self.workers.values(), self.version, now)
        callers = {ref: worker for worker in self.workers.values() for ref in worker.calls}
        if not callers:
            until_restart_s = self.lifecycle.restarts.wait_s(now) or 0.0
            time.sleep(min(wait_s, max(IDLE_S, until_restart_s)))
            return
        self._wait_for_answer(callers, wait_s, now)
        answered, _ = ray.wait(list(callers), num_returns=len(callers), timeout=0)
        for ref in answered:
            worker = callers[ref]
            if ref not in worker.calls:  # another answer of this turn has ended the worker
                continue
            if isinstance(ref, ray.ObjectRefGenerator):
                self._take_stream(worker, ref)
            else:
                self._take_answer(worker, ref)
        self.lifecycle.replace_unresponsive(time.monotonic())

    def stop(self) -> None:
        """Kills every worker."""
        self.lifecycle.stop()

    def _count_time(self, now: float) -> None:
        passed_s = now - self._counted
        self._counted = now
        self.present_s += passed_s * self.count(State.READY, State.SYNCING, State.DRAINING)
        self.busy_s += passed_s * sum(worker.pending["work"] > 0 for worker in self.workers.values())

    def _bring_to_version(self, now: float) -> None:
        self.versions.bring(self.workers.values(), now, self.config.limits.start_s)

    def _wait_for_answer(self, callers: dict[Any, WorkerHandle], wait_s: float, now: float) -> None:
        """Waits until a call other than a beat is answered, a call is overdue, or `wait_s` have passed."""
        calls = {ref: worker.calls[ref] for ref, worker in callers.items()}
        soonest = min(call.since + call.limit_s for call in calls.values())
        awaited = [ref for ref, call in calls.items() if call.kind != "beat"] or list(calls)
        ray.wait(awaited, timeout=max(0.0, min(wait_s, soonest - now)))
        if wait_s and len(calls) > MANY_CALLS:
            time.sleep(LINGER_S)

    def _take_stream(self, worker: WorkerHandle, stream: Any) -> None:
        """Takes in the results that a stream has at the moment, and closes its call after the last."""
        call, now = worker.calls[stream], time.monotonic()
        assert call.share is not None  # nothing but shares is answered by streams
        while stream in worker.calls and ray.wait([stream], timeout=0)[0]:
            worker.health.heard(now)
            ref = next(stream, None)
            if ref is None:
                worker.complete(stream)
                self.dispatcher.end(worker, call.share, call.since, now)
                return
            try:
                position, result = wait_for(ref, ANSWER_S, worker.title)
            except RemoteFailure as error:
                self._take_error(worker, stream, error, now)
            else:
                self.dispatcher.accept_one(call.share, position, result)

    def _take_answer(self, worker: WorkerHandle, ref: Any) -> None:
        now = time.monotonic()
        try:
            answer = wait_for(ref, ANSWER_S, worker.title)
        except RemoteFailure as error:
            self._take_error(worker, ref, error, now)
        else:
            self._take_result(worker, worker.complete(ref), answer, now)

    def _take_error(self, worker: WorkerHandle, ref: Any, error: RemoteFailure, now: float) -> None:
        """A call raised an error, or the worker died of it."""
        call = worker.calls[ref]
        if not isinstance(error, CallFailed):
            self.lifecycle.lose(worker, str(error))
        elif call.share:  # the items are at fault; the worker itself is up
            worker.complete(ref)
            worker.health.heard(now)
            self.dispatcher.retry(call.share, str(error))
        elif self.versions.superseded(call):  # which weights the worker holds is unknown
            worker.complete(ref)
            worker.health.heard(now)
            worker.health.version = None
        else:
            self.lifecycle.lose(worker, str(error))

    def _take_result(self, worker: WorkerHandle, call: Call, answer: Any, now: float) -> None:
        if call.kind == "start":
            worker.node = answer
            worker.address = node_address(answer)
            worker.health.started(now)
            if self.versions.fixed:
                worker.health.verified(self.version, now)
                self.lifecycle.proven = True
        elif call.kind == "update":
            worker.health.verified(call.version, now)
            worker.proof = answer
            self.lifecycle.proven = True
        else:
            worker.health.heard(now)
            if call.share:
                self.dispatcher.accept(worker, call.share, answer, call.since, now)
