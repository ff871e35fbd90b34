"""Limits hold in every window, for one worker and for all together."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.calls.rate_limit import RateLimit, part_of
from tests.support.rewards.fake_clock import FakeClock


def times_of(amount, window_s, costs):
    """When each of the costs was let through."""
    fake = FakeClock()
    limit = RateLimit(amount, window_s, fake.clock)
    taken = []

    async def take(cost):
        await limit.take(cost)
        taken.append((fake.now, cost))

    async def all_of_them():
        await asyncio.gather(*map(take, costs))

    fake.run(all_of_them())
    return taken


def test_a_burst_passes_and_the_rest_waits_for_the_next_window():
    assert [when for when, _ in times_of(3, 60, [1] * 7)] == pytest.approx([0, 0, 0, 60, 60, 60, 120])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=25), st.integers(10, 60))
def test_no_window_holds_more_than_the_limit_and_the_order_is_kept(costs, amount):
    taken = times_of(amount, 60, costs)
    assert [cost for _, cost in taken] == costs
    for start, _ in taken:
        inside = sum(min(cost, amount) for when, cost in taken if start <= when < start + 60 - 1e-6)
        assert inside <= amount


def test_what_costs_more_than_the_limit_goes_alone():
    assert [when for when, _ in times_of(10, 60, [4, 99, 4])] == pytest.approx([0, 60, 120])


@given(st.integers(1, 5000), st.integers(1, 40))
def test_the_parts_of_the_workers_are_the_whole(per_minute, workers):
    parts = [part_of(per_minute, rank, workers) for rank in range(workers)]
    assert sum(amount * 60 / window_s for amount, window_s in parts) == pytest.approx(per_minute)
    amounts = [amount for amount, _ in parts]
    assert min(amounts) >= 1 and max(amounts) - min(amounts) <= 1
