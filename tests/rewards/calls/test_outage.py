"""The circuit breaker, on a clock of its own."""

import asyncio

import pytest

from rewards.calls.outage import FAILURES, LAST_PROBE_S, PATIENCE_S, EndpointDown, Outage
from tests.support.rewards.fake_clock import FakeClock


def fail(outage, times, first=True):
    for _ in range(times):
        outage.failed("refused", probe=False, first=first)


def test_single_failures_open_nothing():
    fake = FakeClock()
    outage = Outage("judge", fake.clock)
    for _ in range(5):
        fail(outage, FAILURES - 1)
        outage.answered()
    fail(outage, 100, first=False)  # calls that fail again and again
    assert fake.run(outage.wait()) is False and fake.now == 0 and not outage.notes


def test_calls_wait_until_a_probe_is_answered_and_it_is_told_once():
    fake = FakeClock()
    outage = Outage("judge", fake.clock)
    fail(outage, FAILURES + 5)
    probes = []

    async def call(number):
        if await outage.wait():
            probes.append(fake.now)
            if fake.now > 20:
                outage.answered()
            else:
                outage.failed("refused", probe=True, first=False)
                await call(number)

    async def calls():
        await asyncio.gather(*map(call, range(30)))

    fake.run(calls())
    assert 3 < len(probes) < 8 and probes == sorted(probes)  # one at a time, less and less often
    assert len(outage.notes) == 2
    assert outage.notes[0].startswith("judge: does not answer, 10 calls in a row failed (refused)")
    assert outage.notes[1] == f"judge: answers again after {probes[-1]:.0f} s"


def test_after_the_patience_calls_fail_at_once_but_the_endpoint_is_still_tried():
    fake = FakeClock()
    outage = Outage("judge", fake.clock)
    fail(outage, FAILURES)
    fake.now = PATIENCE_S + 1
    assert fake.run(outage.wait()) is True
    outage.failed("refused", probe=True, first=True)
    before = fake.now
    with pytest.raises(EndpointDown, match=r"no answer for 61 s \(refused\)"):
        fake.run(outage.wait())
    assert fake.now == before
    fake.now += LAST_PROBE_S
    assert fake.run(outage.wait()) is True
    outage.answered()
    assert fake.run(outage.wait()) is False
    assert len(outage.notes) == 2
