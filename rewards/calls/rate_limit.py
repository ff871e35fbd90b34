"""Limits of calls and tokens a minute, shared by the reward workers."""

from __future__ import annotations

import asyncio
from collections import deque

from rewards.calls.clock import Clock

MINUTE_S = 60.0


class RateLimit:
    """At most `amount` in any window of `window_s` seconds. Those who wait go in the order in which they came."""

    def __init__(self, amount: float, window_s: float, clock: Clock) -> None:
        self.amount, self.window_s, self.clock = amount, window_s, clock
        self._taken: deque[tuple[float, float]] = deque()  # when, and how much
        self._turn = asyncio.Lock()

    async def take(self, cost: float = 1.0) -> None:
        """Waits until `cost` fits. What costs more than the whole limit takes all of it."""
        async with self._turn:
            while (wait_s := self._wait_s(min(cost, self.amount))) > 0:
                await self.clock.sleep(wait_s)
            self._taken.append((self.clock.now(), min(cost, self.amount)))

    def _wait_s(self, cost: float) -> float:
        """Seconds until `cost` fits if nobody else takes anything; 0 if it fits now."""
        now = self.clock.now()
        while self._taken and self._taken[0][0] + self.window_s <= now:
            self._taken.popleft()
        excess = sum(taken for _, taken in self._taken) + cost - self.amount
        for when, taken in self._taken:
            if excess <= 1e-9:
                return 0.0
            excess -= taken
            until = when + self.window_s
            if excess <= 1e-9:
                return max(1e-3, until - now)
        return 0.0


def part_of(per_minute: float, rank: int, workers: int) -> tuple[float, float]:
    """The part of a limit that one of several workers may use: an amount, and the seconds of its window.

    The parts are whole and sum to the limit. If there are more workers than that, each has one in a longer window.
    """
    if per_minute < workers:
        return 1.0, MINUTE_S * workers / per_minute
    whole, rest = divmod(int(per_minute), workers)
    return float(whole + (rank % workers < rest)), MINUTE_S
