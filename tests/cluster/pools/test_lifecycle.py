"""Workers are started, drained, replaced and given up; without processes. Real ones are in test_work_pool."""

import time
from itertools import count
from types import SimpleNamespace

import pytest

from actors.runtime.remote import RemoteFailure
from actors.runtime.restart_policy import Restarts
from cluster.pools.dispatcher import Dispatcher
from cluster.pools.lifecycle import Lifecycle
from cluster.pools.pool_config import WorkPoolConfig
from cluster.pools.worker_health import Limits, State

REFS = count()


def remote_method():
    return SimpleNamespace(remote=lambda *arguments: next(REFS))  # stands for Ray's: it returns a reference


@pytest.fixture
def crew_of():
    def make(size, restarts=(100, 60, 0), beat_s=None):
        started, killed = [], []

        def start(rank, name):
            started.append(name)
            return SimpleNamespace(name=name, ready=remote_method(), ping=remote_method())

        config = WorkPoolConfig("run", "kind", size, Limits(start_s=60, suspect_s=5, dead_s=9), 1, beat_s=beat_s)
        dispatcher = Dispatcher(1, 1, 1)
        crew = Lifecycle(config, start, lambda actor: killed.append(actor.name), Restarts(*restarts), dispatcher)
        crew.fit(0.0)
        return crew, started, killed

    return make


def make_ready(crew, now=0.0):
    for worker in crew.workers.values():
        if worker.health.state is State.STARTING:
            (ref,) = worker.calls
            worker.complete(ref)
            worker.health.started(now)
            worker.health.verified("v", now)
    crew.proven = True


def test_surplus_workers_finish_their_share_first_and_missing_ones_are_started(crew_of):
    crew, started, killed = crew_of(3)
    assert started == ["run/kind-0", "run/kind-1", "run/kind-2"]
    make_ready(crew)
    crew.dispatcher.submit([1, 2, 3], lambda actor, items: next(REFS), 60, parts=3)
    crew.dispatcher.hand_out(crew.workers.values(), "v", 0.0)
    crew.size = 1
    crew.fit(1.0)
    assert crew.states() == {"ready": 1, "draining": 2} and not killed
    worker = crew.workers[2]
    worker.complete(*worker.calls)
    crew.fit(2.0)
    assert killed == ["run/kind-2"] and crew.count(State.DRAINING) == 1
    crew.size = 2
    crew.fit(3.0)  # the one that drains is not taken back
    assert started[3:] == ["run/kind-2-start-4"] and crew.deaths == 0


def test_a_dead_workers_share_is_queued_again_in_halves(crew_of):
    crew, started, killed = crew_of(1)
    make_ready(crew)
    crew.dispatcher.submit([1, 2], lambda actor, items: next(REFS), 60, parts=1)
    crew.dispatcher.hand_out(crew.workers.values(), "v", 0.0)
    crew.lose(crew.workers[0], "kind-0 died")
    assert [list(share.items) for share in crew.dispatcher.queue] == [[1], [2]]
    assert (crew.deaths, crew.last_death, killed) == (1, "kind-0 died", ["run/kind-0"])
    assert crew.events == ["kind-0 died; another is started"]
    crew.fit(time.monotonic())  # by the clock that deaths are noted by
    assert started[1:] == ["run/kind-0-start-2"]


def test_before_any_worker_was_ready_a_death_is_an_error(crew_of):
    crew, _, _ = crew_of(2)
    with pytest.raises(RemoteFailure, match="^kind-0 could not start: why$"):
        crew.lose(crew.workers[0], "kind-0 could not start: why")


def test_too_many_deaths_end_the_pool_with_the_last_reason(crew_of):
    crew, _, _ = crew_of(1, restarts=(1, 600, 0))
    for outcome in ("another is started", "too many died; it is not replaced"):
        make_ready(crew)
        crew.lose(crew.workers[0], "kind-0 died")
        assert crew.events.pop() == f"kind-0 died; {outcome}"
        if "too many" not in outcome:
            crew.fit(time.monotonic())
    with pytest.raises(RemoteFailure, match="^2 kind workers died within 600 s; the last: kind-0 died$"):
        crew.fit(time.monotonic())


def test_a_silent_worker_is_pinged_once_and_then_given_up(crew_of):
    crew, _, killed = crew_of(1, beat_s=2)
    make_ready(crew)
    worker = crew.workers[0]
    crew.beat(1.0)
    assert not worker.calls
    crew.beat(2.0)
    crew.beat(4.5)
    assert [call.kind for call in worker.calls.values()] == ["beat"]
    later = crew._overdue_checked + 1000
    crew.replace_unresponsive(later)
    assert killed == ["run/kind-0"] and crew.last_death == "kind-0 did not answer for 9 s"


def test_a_call_beyond_its_limit_costs_its_worker(crew_of):
    crew, _, _ = crew_of(1)
    make_ready(crew)
    crew.dispatcher.submit([1], lambda actor, items: next(REFS), 3, parts=1)
    crew.dispatcher.hand_out(crew.workers.values(), "v", 0.0)
    crew.replace_unresponsive(crew._overdue_checked + 1000)
    assert crew.last_death == "kind-0 did not answer its work within 3 s"
