"""One rule, called for many responses: faults, tries, limits, cache."""

import asyncio
import time

import pytest

from rewards.calls.runner import Place, RuleRunner
from rewards.calls.targets import LocalTarget
from rewards.config import OwnRule, RewardConfig
from rewards.custom_rules import RuleInput
from rewards.score import score
from tests.support.rewards import waiting_rules
from tests.support.rewards.fake_clock import FakeClock
from tests.support.rewards.responses import SINGLE, pairs
from tests.support.rewards.waiting_rules import BATCHES, CALLS, worth

RULES = "tests.support.rewards.waiting_rules"


@pytest.fixture(autouse=True)
def fresh():
    CALLS.clear()
    BATCHES.clear()


def item(words):
    text = pairs("B", think=words)
    return RuleInput(SINGLE, text, score(SINGLE, text, RewardConfig()))


def runner(rule, fake=None, place=None, options=None, **settings):
    own = OwnRule(rule=f"{RULES}:{rule}", weight=1, options=options or {}, **settings)
    return RuleRunner(rule, own, LocalTarget(own), place or Place(), (fake or FakeClock()).clock)


def values(run, *words, fake=None):
    async def ask():
        return await asyncio.gather(*(run.value(item(each)) for each in words))

    return (fake or FakeClock()).run(ask())


def expected(words):
    return worth(pairs("B", think=words))


@pytest.mark.parametrize("rule", ["asks", "Asks", "Batches", "ready"])
def test_every_form_gives_the_values_in_order(rule):
    words = [f"film {'x' * number}" for number in range(50)]
    assert [found.value for found in values(runner(rule), *words)] == [expected(each) for each in words]


@pytest.mark.parametrize("rule", ["asks", "Asks", "Batches"])
@pytest.mark.parametrize(
    "bad, reason",
    [
        ("raises", "failed: KeyError: 'nothing'"),
        ("exits", "failed: RuntimeError: SystemExit: 3"),
        ("refuses", ": no opinion"),
        ("too much", "gave 7.0; a number in [0, 1] is needed"),
        ("always fails", "failed: ConnectionResetError: gone"),
    ],
)
def test_a_fault_hurts_its_own_response_alone(rule, bad, reason):
    words = ["a", "bb", "ccc", bad, "dddd", "eeeee", "ffffff"]
    fake = FakeClock()
    found = values(runner(rule, fake), *words, fake=fake)
    for each, value in zip(words, found, strict=True):
        if each == bad:
            assert value.value == 0 and value.fault == f"rule {RULES}:{rule}{value.fault.split(rule, 1)[1]}"
            assert reason in value.fault
        else:
            assert value == (expected(each), "")


def test_a_lost_connection_is_tried_again_and_an_error_of_the_rule_is_not():
    fake = FakeClock()
    found = values(runner("asks", fake, retries=2), "first fails", "raises", "always fails", fake=fake)
    assert [value.value for value in found] == [expected("first fails"), 0, 0]
    calls = [CALLS[item(words).response] for words in ("first fails", "raises", "always fails")]
    assert calls == [2, 1, 3] and fake.now > 0


@pytest.mark.parametrize("rule, options", [("asks", {"seconds": 60}), ("stubborn", {}), ("Batches", {"pause_s": 60})])
def test_what_does_not_answer_in_time_is_left_behind(rule, options):
    start = time.monotonic()
    (found,) = values(runner(rule, options=options, timeout_s=0.05, retries=0), "a")
    assert found.value == 0 and "TimeoutError: no answer within 0.05 s" in found.fault
    assert time.monotonic() - start < 30  # not the minute that two of them take


@pytest.mark.parametrize("concurrency, most", [(1, 1), (5, 5), (None, 32)])
def test_no_more_calls_at_once_than_concurrency(concurrency, most, monkeypatch):
    now, seen = 0, []

    async def count(task, response, verdict):
        nonlocal now
        now += 1
        seen.append(now)
        await asyncio.sleep(0.01)
        now -= 1
        return 0.5

    monkeypatch.setattr(waiting_rules, "asks", count)
    own = OwnRule(rule=f"{RULES}:asks", weight=1, concurrency=concurrency)
    target = LocalTarget(own)
    target._rule = count
    run = RuleRunner("asks", own, target, Place(), FakeClock().clock)
    assert len(values(run, *(f"film {number}" for number in range(70)))) == 70
    assert max(seen) == most


def test_a_batch_holds_what_waits_and_at_most_batch_size():
    values(runner("Batches"), *(f"film {number}" for number in range(30)))
    assert BATCHES == [8, 8, 8, 6]
    BATCHES.clear()
    values(runner("Batches"), "a", "b", "raises", "c")
    assert sorted(BATCHES) == [1, 1, 2, 2, 4]  # halves, down to the one at fault


def test_a_batch_with_a_value_too_few_has_none():
    found = values(runner("Short"), "a", "b")
    assert [value.value for value in found] == [0, 0] and "gave 0 values for 1 inputs" in found[0].fault


def test_a_rule_that_cannot_be_constructed_is_a_fault_of_every_response_and_not_of_the_worker():
    found = values(runner("Broken"), "a", "b")
    assert all("FileNotFoundError: no such model folder" in value.fault for value in found)


def test_the_same_content_is_judged_once_also_at_the_same_time():
    run = runner("asks", options={"seconds": 0.01})
    found = values(run, *["a"] * 20, *["b"] * 20)
    assert len(found) == 40 and run.calls == 2
    values(run, "a", "b", "c")
    assert run.calls == 3
    assert [value.value for value in found] == [expected("a")] * 20 + [expected("b")] * 20


def test_without_a_cache_every_response_is_judged():
    run = runner("asks", cache="none")
    values(run, "a", "a", "a")
    assert run.calls == 3


def test_a_fault_is_not_kept():
    run = runner("asks", retries=0)
    assert [values(run, "first fails")[0].value for _ in range(2)] == [0, expected("first fails")]


def test_values_on_disk_serve_a_later_worker(tmp_path):
    values(runner("asks", cache="disk", place=Place(0, 2, tmp_path)), "a", "b")
    later = runner("asks", cache="disk", place=Place(1, 2, tmp_path))
    assert [value.value for value in values(later, "b", "a")] == [expected("b"), expected("a")] and later.calls == 0
    other = runner("asks", cache="disk", options={"seconds": 0.001}, place=Place(1, 2, tmp_path))
    values(other, "a")
    assert other.calls == 1  # other options, other values


def test_requests_a_minute_hold_with_tries_again_counted():
    fake = FakeClock()
    run = runner("asks", fake, requests_per_minute=10, retries=1, place=Place(0, 2))
    words = [f"film {number}" for number in range(12)]
    values(run, *words, "always fails", fake=fake)
    assert run.calls == 14 and 120 <= fake.now < 180  # five a minute: the part of one worker of two


def test_the_part_of_a_limit_follows_the_number_of_workers():
    fake = FakeClock()
    run = runner("asks", fake, requests_per_minute=10, place=Place(0, 2))
    run.share_with(1)
    values(run, *(f"film {number}" for number in range(20)), fake=fake)
    assert 60 <= fake.now < 61


def test_tokens_a_minute_hold(monkeypatch):
    monkeypatch.setattr(waiting_rules.Asks, "estimate_tokens", lambda self, *_: 100, raising=False)
    fake = FakeClock()
    run = runner("Asks", fake, tokens_per_minute=300)
    values(run, *(f"film {number}" for number in range(9)), fake=fake)
    assert 120 <= fake.now < 121


def test_a_dead_endpoint_is_told_once_and_every_response_ends():
    fake = FakeClock()
    run = runner("asks", fake, concurrency=8, retries=2)
    words = [f"always fails {number}" for number in range(60)]
    found = values(run, *words, fake=fake)
    assert all(value.fault for value in found)
    assert run.calls < 60  # most of them asked nobody
    notes = run.take_notes()
    assert len(notes) == 1 and "does not answer" in notes[0] and run.take_notes() == []


def test_who_finds_out_that_an_endpoint_is_still_down_loses_no_try():
    fake = FakeClock()

    async def dead_for_40_s(task, response, verdict):
        if fake.now < 40:
            raise ConnectionRefusedError("nobody there")
        return worth(response)

    own = OwnRule(rule=f"{RULES}:asks", weight=1, retries=1, concurrency=30)
    target = LocalTarget(own)
    target._rule = dead_for_40_s
    run = RuleRunner("asks", own, target, Place(), fake.clock)
    words = [f"film {number}" for number in range(30)]
    found = values(run, *words, fake=fake)
    assert [value.value for value in found] == [expected(each) for each in words]
    assert [note.split(",")[0] for note in run.take_notes()] == [
        "asks: does not answer",
        f"asks: answers again after {fake.now:.0f} s",
    ]
