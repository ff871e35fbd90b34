"""Own rules of every form, for tests: what they do depends on the response, and they count their calls."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence

from rewards.custom_rules import RuleFault, RuleInput

CALLS: Counter[str] = Counter()
BATCHES: list[int] = []


def worth(response: str) -> float:
    """A number in (0, 1) that depends on the response only."""
    return (len(response) % 97 + 1) / 100


def plain(task, response, verdict):
    return worth(response)


async def asks(task, response, verdict, *, seconds=0.0):
    CALLS[response] += 1
    await asyncio.sleep(seconds)
    return _judged(response, CALLS[response])


class Asks:
    def __init__(self, *, part: float = 1.0) -> None:
        self.part = part
        CALLS["constructed"] += 1

    async def __call__(self, task, response, verdict):
        CALLS[response] += 1
        return self.part * _judged(response, CALLS[response])


class Batches:
    batch_size = 8

    def __init__(self, *, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s

    def score_batch(self, inputs: Sequence[RuleInput]) -> list[float]:
        BATCHES.append(len(inputs))
        time.sleep(self.pause_s)
        return [_judged(item.response, 9) for item in inputs]


class TrustedBatches(Batches):
    opinion = False


class Short(Batches):
    def score_batch(self, inputs):
        return [0.5] * (len(inputs) - 1)


class Broken:
    def __init__(self) -> None:
        raise FileNotFoundError("no such model folder")

    def score_batch(self, inputs):
        return []


class Sync:
    def __call__(self, task, response, verdict):
        return 1.0


class Callable:
    async def __call__(self, task, response, verdict):
        return worth(response)


ready = Callable()


async def stubborn(task, response, verdict):
    """Heeds no cancellation for a while."""
    for _ in range(10):
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            CALLS["cancelled"] += 1
    return 1.0


def makes_a_coroutine(task, response, verdict):
    return asks(task, response, verdict)


async def blocks(task, response, verdict, *, seconds):
    time.sleep(seconds)  # what an async rule must not do
    return 1.0


def process(task, response, verdict):
    """Which process scored it, told by a value."""
    return (os.getpid() % 1000) / 1000


def _judged(response: str, calls: int) -> float:
    if "raises" in response:
        raise KeyError("nothing")
    if "exits" in response:
        raise SystemExit(3)
    if "refuses" in response:
        raise RuleFault("no opinion")
    if "first fails" in response and calls == 1:
        raise ConnectionResetError("gone")
    if "always fails" in response:
        raise ConnectionResetError("gone")
    if "too much" in response:
        return 7.0
    return worth(response)
