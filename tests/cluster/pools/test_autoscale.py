"""The number of rollout workers follows what steps take."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.pools.autoscale import STEPS, Balance


def walk(balance, now, work_s, learn_s, steps):
    for _ in range(steps):
        now = balance.workers(now, work_s, learn_s)
    return now


def test_workers_come_and_go_until_a_steps_responses_take_as_long_as_its_learning():
    balance = Balance(1, 16)
    assert walk(balance, 1, 40.0, 10.0, STEPS - 1) == 1  # not by a single slow step
    assert walk(balance, 1, 40.0, 10.0, 1) == 4
    assert walk(balance, 4, 40.0, 10.0, 20) == 4
    assert walk(balance, 4, 15.0, 10.0, STEPS) == 2


def test_numbers_that_go_up_and_down_change_nothing():
    balance, now = Balance(1, 16), 4
    for work_s in (35.0, 50.0) * 10:
        now = balance.workers(now, work_s, 10.0)
    assert now == 4


@given(st.integers(1, 5), st.integers(0, 5), st.lists(st.tuples(st.floats(0, 1e3), st.floats(0, 100)), max_size=40))
def test_the_range_is_kept(least, more, steps):
    balance, now = Balance(least, least + more), least
    for work_s, learn_s in steps:
        now = balance.workers(now, work_s, learn_s)
        assert least <= now <= least + more
