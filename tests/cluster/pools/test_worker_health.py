"""The health of workers: what may happen in any order, and what may never."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.pools.worker_health import Health, Limits, State

LIMITS = Limits(start_s=100, suspect_s=10, dead_s=30)
NEWS = st.one_of(
    st.just(("started",)),
    st.just(("heard",)),
    st.just(("drain",)),
    st.just(("idle",)),
    st.just(("tick",)),
    st.tuples(st.just("verified"), st.integers(0, 9)),
    st.just(("died", "killed")),
)
HISTORY = st.lists(st.tuples(NEWS, st.floats(0, 20)), max_size=60)


def tell(health, news, now):
    name, *arguments = news
    getattr(health, name)(*arguments, now)


def ready(now=0.0):
    health = Health(LIMITS, now)
    health.started(now)
    health.verified(3, now)
    return health


@given(HISTORY)
def test_in_any_order_of_news(history):
    health, now = Health(LIMITS, 0.0), 0.0
    started = drained = False
    verified = None
    for news, later in history:
        before, now = health.state, now + later
        tell(health, news, now)
        started |= news[0] == "started" and before is State.STARTING
        drained |= news[0] == "drain" and before is not State.DEAD
        if news[0] == "verified" and before not in (State.STARTING, State.DEAD):
            verified = news[1]
        assert health.version == verified
        if before is State.DEAD:
            assert health.state is State.DEAD
        if health.accepts:  # only who started, proved a version and is not about to go
            assert started and verified is not None and not drained
        if health.state is State.DEAD:
            assert health.why
        health_after_tick = Health(LIMITS, health.since, health.state)
        health_after_tick.heard_at = health.heard_at
        health_after_tick.tick(now)
        if health_after_tick.accepts:  # after a tick nobody silent gets work
            assert now - health.heard_at <= LIMITS.suspect_s


@given(HISTORY)
def test_a_silent_worker_is_dead_in_the_end(history):
    health, now = Health(LIMITS, 0.0), 0.0
    for news, later in history:
        now += later
        tell(health, news, now)
    health.tick(now + LIMITS.start_s + 1)
    assert not health.alive


def test_a_late_answer_brings_a_suspect_back():
    health = ready()
    health.tick(11)
    assert health.state is State.SUSPECT and "10 s" in health.why and not health.accepts
    health.heard(12)
    assert health.accepts and health.why == ""
    fresh = Health(LIMITS, 0.0)
    fresh.started(0.0)
    fresh.tick(11)
    fresh.heard(12)
    assert fresh.state is State.SYNCING  # it has never proved a version


def test_a_worker_that_starts_may_be_silent_for_longer():
    health = Health(replace(LIMITS, start_setting="rollout.timeout_s"), 0.0)
    health.tick(99)
    assert health.state is State.STARTING
    health.tick(101)
    assert health.state is State.DEAD and "did not start within 100 s (rollout.timeout_s)" in health.why


def test_one_that_drains_goes_once_it_has_no_work():
    health = ready()
    health.drain(1)
    health.verified(4, 2)
    assert health.state is State.DRAINING and health.version == 4 and not health.accepts
    health.idle(3)
    assert health.state is State.DEAD and health.why == "drained"


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="suspect_s 60 must be above 0 and below dead_s 30"):
        Limits(suspect_s=60, dead_s=30)
