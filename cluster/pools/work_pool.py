"""Workers that share work: started, watched, replaced, and added or taken away while they work.

The pool has no thread of its own: `pump` does what is due. A share whose worker dies or is late goes to another worker in
halves, down to the one item that is at fault; that item alone is given up, and nothing else is lost. A worker whose node
is about to go hands its shares back.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray

from actors.runtime.remote import CallFailed, RemoteFailure, wait_for
from actors.runtime.restart_policy import Restarts
from cluster.pools.shares import Batch, Call, Failed, Share, WorkSpan, cut
from cluster.pools.worker_health import Health, Limits, State

PUMP_S = 1.0  # the longest that one turn waits
SHORT_S = 0.02  # where another pool waits for its turn
MANY, LINGER_S = 32, 0.02
LATE_S = 0.25  # between two looks for late answers
NODES_S = 5.0  # between two looks at the nodes


@dataclass
class _Worker:
    rank: int
    name: str
    actor: Any
    health: Health
    calls: dict[Any, Call] = field(default_factory=dict)
    doing: Counter[str] = field(default_factory=Counter)  # how many calls of a kind it has not answered
    node: str = ""  # its id
    address: str = ""
    proof: Any = None  # what it answered when it was brought to its version

    @property
    def title(self) -> str:
        """Its name, and where it is once it stands."""
        return f"{self.name} on {self.address}" if self.address else self.name

    def ask(self, ref: Any, call: Call) -> None:
        self.calls[ref] = call
        self.doing[call.what] += 1

    def settle(self, ref: Any) -> Call:
        call = self.calls.pop(ref)
        self.doing[call.what] -= 1
        return call


class WorkPool:
    """`size` workers of one kind.

    Args:
        run, kind: workers are called run/kind-rank.
        start: makes the actor of a rank under a name; its method `ready` answers once it stands, with the id of its node.
        least_s: the shortest time that a share is given, however small it is.
        tries: how often one item may fail with its worker before it is given up.
        update: brings an actor to a version of the weights, and has it prove that it holds it; None for workers without any.
            A worker that holds another version than the pool's gets no share.
        beat_s: between two calls of an actor's method `ping`, by which it shows that it lives; None for actors that cannot
            answer while they work. Of those the limit of a share is the only sign.
        shares_each: how many shares a worker may have at once.
        version: what workers hold by themselves where there is no `update`.
        kill: ends an actor.

    Attributes:
        news: what went wrong, in words, for the one who reads and empties it.
        busy_s: seconds that workers spent on shares, summed over all workers. (One with two shares counts once.)
        present_s: seconds for which workers could have worked.
        spans: shares that were answered, for the one who reads and empties them.
    """

    def __init__(
        self,
        run: str,
        kind: str,
        size: int,
        start: Callable[[int, str], Any],
        limits: Limits,
        restarts: Restarts,
        least_s: float,
        tries: int = 1,
        update: Callable[[Any, Any], Any] | None = None,
        beat_s: float | None = None,
        shares_each: int = 1,
        version: Any = 0,
        kill: Callable[[Any], None] = ray.kill,
    ) -> None:
        self.run, self.kind, self.size, self.limits, self.restarts = run, kind, size, limits, restarts
        self.least_s, self.tries, self.beat_s, self.shares_each = least_s, tries, beat_s, shares_each
        self._start_actor, self._update_actor = start, update
        self._kill_actor = kill
        self.version = None if update else version
        self.started = self.died = 0
        self.busy_s = self.present_s = 0.0
        self.spans: list[WorkSpan] = []
        self._counted = self._looked = self._searched = time.monotonic()
        self.proven = False  # whether a worker was ever ready
        self.news: list[str] = []
        self.last_words = ""  # why the last worker died
        self.workers: dict[int, _Worker] = {}
        self.waiting: deque[Share] = deque()
        self._fit(time.monotonic())

    def map(
        self,
        items: Sequence[Any],
        call: Callable[[Any, Sequence[Any]], Any],
        seconds: float,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[Any]:
        """What `call(actor, items)` gives for the items, in order: an equal, contiguous share to each worker.

        Args:
            call: sends a share to an actor; its reference is to as many results.
            seconds: for a worker's share.
            meanwhile: is called again and again while the results are waited for.

        Raises:
            RemoteFailure: no worker is left, and none may be started.
        """
        batch = self.submit(items, call, seconds)
        while not batch.done:
            self.pump(SHORT_S if meanwhile else PUMP_S)
            if meanwhile:
                meanwhile()
        return batch.results

    def submit(self, items: Sequence[Any], call: Callable[[Any, Sequence[Any]], Any], seconds: float) -> Batch:
        """Queues a share for each worker that may get one now, or is about to."""
        if self.version is None:
            raise ValueError(f"{self.kind} workers hold no version yet; update comes first")
        batch = Batch(items, call)
        present = sum(w.health.alive and w.health.state is not State.DRAINING for w in self.workers.values())
        self._queue(Share(batch, 0, items, seconds), max(1, present))
        self._hand_out(time.monotonic())
        return batch

    def ready(self) -> None:
        """Waits until all workers stand. Raises RemoteFailure."""
        while self.count(State.SYNCING, State.READY) < self.size:
            self.pump()

    def count(self, *states: State) -> int:
        """Workers in one of the states."""
        return sum(worker.health.state in states for worker in self.workers.values())

    def states(self) -> dict[str, int]:
        """How many workers are in which state."""
        return dict(Counter(str(worker.health.state) for worker in self.workers.values()))

    def update(self, version: Any) -> list[Any]:
        """Every worker that stands takes the version and proves that it holds it; who starts later takes it then.

        Returns:
            What each answered. One that cannot prove it is replaced before it gets a share.

        Raises:
            RemoteFailure: no worker is left, and none may be started.
        """
        self.begin(version)
        return self.settle()

    def begin(self, version: Any) -> None:
        """As `update`, without waiting: `pump` brings them there, and who is not there yet gets no share."""
        if self._update_actor is None:
            raise ValueError(f"{self.kind} workers hold no version")
        self.version = version
        self._bring_to_version(time.monotonic())

    def receivers(self) -> dict[str, str]:
        """Names by actor of those who live and were told of the pool's version, and have not said that they hold it."""
        return {
            worker.actor._actor_id.hex(): worker.title
            for worker in self.workers.values()
            if worker.health.state in (State.SYNCING, State.READY)
            and any(call.what == "update" and call.version == self.version for call in worker.calls.values())
        }

    def withdraw(self) -> None:
        """The version that was begun does not come: nobody is brought to it, nor gets a share, until another is begun. Who fails
        to take it is not to blame; that all have done with it is waited for. Raises RemoteFailure as `update`."""
        self.version = None
        while any(worker.doing["update"] for worker in self.workers.values()):
            self.pump()

    def settle(self, meanwhile: Callable[[], None] = lambda: None) -> list[Any]:
        """Waits until all that stand hold the pool's version, as `update` does. `meanwhile` is called again and again."""
        while True:
            standing = [w for w in self.workers.values() if w.health.state not in (State.STARTING, State.DRAINING)]
            if standing and all(worker.health.version == self.version for worker in standing):
                return [worker.proof for worker in standing]
            self.pump()
            meanwhile()

    def forget(self) -> None:
        """Drops what was handed in, answered or not: nobody waits for it any more."""
        self.waiting.clear()
        for worker in self.workers.values():
            for ref in [ref for ref, call in worker.calls.items() if call.what == "work"]:
                ray.cancel(ref)
                worker.settle(ref)

    def scale(self, size: int) -> None:
        """From now on `size` workers; who is too many finishes its share first."""
        self.size = size

    def pump(self, wait_s: float = PUMP_S) -> None:
        """One turn: brings the workers to `size`, hands out shares, waits a little, takes in what was answered."""
        now = time.monotonic()
        self._count_time(now)
        self._leave_nodes(now)
        self._fit(now)
        self._beat(now)
        self._bring_to_version(now)
        self._hand_out(now)
        calls = {ref: worker for worker in self.workers.values() for ref in worker.calls}
        if not calls:
            time.sleep(min(wait_s, max(0.05, self.restarts.wait_s(now) or 0.0)))
            return
        soonest = min(call.since + call.seconds for worker in self.workers.values() for call in worker.calls.values())
        ray.wait(
            [ref for ref, worker in calls.items() if worker.calls[ref].what != "beat"] or list(calls),
            timeout=max(0.0, min(wait_s, soonest - now)),
        )
        if wait_s and len(calls) > MANY:
            time.sleep(LINGER_S)  # a turn costs the same for one answer as for many
        done, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        for ref in done:
            if ref in calls[ref].calls:  # not taken back meanwhile
                self._answered(calls[ref], ref)
        self._find_late(time.monotonic())

    def stop(self) -> None:
        for worker in self.workers.values():
            self._kill_actor(worker.actor)
        self.workers.clear()

    def _count_time(self, now: float) -> None:
        passed, self._counted = now - self._counted, now
        self.present_s += passed * self.count(State.READY, State.SYNCING, State.DRAINING)
        self.busy_s += passed * sum(worker.doing["work"] > 0 for worker in self.workers.values())

    def _leave_nodes(self, now: float) -> None:
        """Workers of nodes that are about to go (a spot machine is taken back) hand over what they have."""
        if now - self._looked < NODES_S:
            return
        self._looked = now
        if leaving := draining_nodes():
            for worker in [worker for worker in self.workers.values() if worker.node in leaving]:
                for call in worker.calls.values():
                    if call.share:
                        self.waiting.appendleft(call.share)
                self.news.append(f"{worker.title}: its node is about to go; what it had goes to others")
                worker.health.died("its node goes", now)
                self._take_away(worker)

    def _beat(self, now: float) -> None:
        for worker in self.workers.values() if self.beat_s else ():
            silent = now - worker.health.heard_at  # who answered something else lives, too
            if worker.health.state is not State.STARTING and silent >= self.beat_s and not worker.doing["beat"]:
                worker.health.asked(now)
                worker.ask(worker.actor.ping.remote(), Call("beat", now))

    def _find_late(self, now: float) -> None:
        if now - self._searched < LATE_S:
            return
        self._searched = now
        for worker in list(self.workers.values()):
            if self.beat_s or worker.health.state is State.STARTING:
                worker.health.tick(now)
            late = [call for call in worker.calls.values() if call.since + call.seconds <= now]
            if not worker.health.alive:
                self._lost(worker, f"{worker.title} {worker.health.why}")
            elif late:
                self._lost(worker, f"{worker.title} did not answer its {late[0].what} within {late[0].seconds:g} s")

    def _fit(self, now: float) -> None:
        staying = [worker for worker in self.workers.values() if worker.health.state is not State.DRAINING]
        if len(staying) > self.size:
            for worker in sorted(staying, key=lambda w: w.rank)[self.size :]:
                worker.health.drain(now)
        for worker in [w for w in self.workers.values() if w.health.state in (State.DRAINING, State.DEAD)]:
            if not worker.doing["work"]:
                worker.health.idle(now)
            if not worker.health.alive:
                self._take_away(worker)
        for _ in range(self.size - len(staying)):
            wait = self.restarts.wait_s(now)
            if wait is None and not staying:
                raise RemoteFailure(
                    f"{len(self.restarts.deaths)} {self.kind} workers died within "
                    f"{self.restarts.window_s:g} s; the last: {self.last_words}"
                )
            if wait != 0:
                break
            self._start(now)

    def _start(self, now: float) -> None:
        rank = min(set(range(len(self.workers) + 1)) - self.workers.keys())
        self.started += 1
        again = "" if self.started <= self.size and not self.proven else f"-start-{self.started}"
        name = f"{self.kind}-{rank}{again}"
        worker = _Worker(rank, name, self._start_actor(rank, f"{self.run}/{name}"), Health(self.limits, now))
        worker.ask(worker.actor.ready.remote(), Call("start", now))
        self.workers[rank] = worker

    def _bring_to_version(self, now: float) -> None:
        if self._update_actor is None or self.version is None:
            return
        for worker in self.workers.values():
            standing = worker.health.alive and worker.health.state is not State.STARTING
            if standing and worker.health.version != self.version and not worker.doing["update"]:
                call = Call("update", now, self.limits.start_s, version=self.version)
                worker.ask(self._update_actor(worker.actor, self.version), call)

    def _queue(self, share: Share, count: int) -> None:
        """Queues a share in `count` parts."""
        first = share.first
        for items in cut(share.items, count):
            if items:
                self.waiting.append(replace(share, first=first, items=items))
                first += len(items)

    def _hand_out(self, now: float) -> None:
        able = [w for _, w in sorted(self.workers.items()) if w.health.accepts and w.health.version == self.version]
        for have in range(self.shares_each):  # first to those who have none
            for worker in [worker for worker in able if worker.doing["work"] == have][: len(self.waiting)]:
                share = self.waiting.popleft()
                worker.ask(share.batch.call(worker.actor, share.items), Call("work", now, share.seconds, share))

    def _answered(self, worker: _Worker, ref: Any) -> None:
        call, now = worker.calls[ref], time.monotonic()
        try:
            answer = wait_for(ref, 60, worker.title)
        except RemoteFailure as error:
            overtaken = call.what == "update" and call.version != self.version
            if not isinstance(error, CallFailed) or call.share is None and not overtaken:
                self._lost(worker, str(error))
            elif overtaken:  # the worker stands; what it holds now, nobody knows
                worker.settle(ref)
                worker.health.heard(now)
                worker.health.version = None
            else:  # the worker stands; what it was given is at fault
                worker.settle(ref)
                worker.health.heard(now)
                self._again(call.share, str(error))
            return
        worker.settle(ref)
        if call.what == "beat":
            worker.health.heard(now)
        elif call.share:
            worker.health.heard(now)
            if len(answer) != len(call.share.items):
                raise RemoteFailure(f"{worker.title} gave {len(answer)} results for {len(call.share.items)} items")
            call.share.batch.settle(call.share.first, answer)
            self.spans.append(WorkSpan(worker.name, call.since, now - call.since, len(answer)))
        elif call.what == "update":
            worker.health.verified(call.version, now)
            worker.proof, self.proven = answer, True
        else:
            worker.node, worker.address = answer, node_address(answer)
            worker.health.started(now)
            if self._update_actor is None:
                worker.health.verified(self.version, now)
                self.proven = True

    def _lost(self, worker: _Worker, why: str) -> None:
        """A worker is dead, or as good as: its shares go to others."""
        now = time.monotonic()
        worker.health.died(why, now)
        self.last_words = why
        self.died += 1
        if not self.proven:
            raise RemoteFailure(why)
        self.restarts.died(now)
        replaced = (
            "another is started" if self.restarts.wait_s(now) is not None else "too many died; it is not replaced"
        )
        self.news.append(f"{why}; {replaced}")
        for call in worker.calls.values():
            if call.share:
                self._again(call.share, why)
        worker.calls.clear()
        worker.doing.clear()
        self._take_away(worker)

    def _take_away(self, worker: _Worker) -> None:
        self._kill_actor(worker.actor)
        del self.workers[worker.rank]

    def _again(self, share: Share, why: str) -> None:
        if len(share.items) > 1:
            self._queue(replace(share, seconds=max(self.least_s, share.seconds / 2)), 2)
        elif share.failures + 1 < self.tries:
            self.waiting.append(replace(share, failures=share.failures + 1))
        else:
            share.batch.settle(share.first, [Failed(why)])


def draining_nodes() -> set[str]:
    """Ids of the nodes that will go soon, by the autoscaler's wish or the cloud's."""
    from ray._private.state import state

    return set(state.get_draining_nodes())


def node_address(node: str) -> str:
    """The address of a node by its id; "" where it is gone."""
    return next((found["NodeManagerAddress"] for found in ray.nodes() if found["NodeID"] == node), "")
