"""A clock whose time passes only while everything waits for it, so that an hour of waiting takes no time."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Coroutine
from typing import Any, TypeVar

from rewards.calls.clock import Clock

Result = TypeVar("Result")
IDLE_TURNS = 20  # turns of the loop without a new sleeper, before time passes


class FakeClock:
    """`clock` is what is passed on; `now` is its time in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.clock = Clock(lambda: self.now, self._sleep)
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of `work`, with time passing as it needs."""
        return asyncio.run(self._drive(work))

    async def _sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now + seconds, self._count, future))
        await future

    async def _drive(self, work: Coroutine[Any, Any, Result]) -> Result:
        task = asyncio.ensure_future(work)
        while not task.done():
            for _ in range(IDLE_TURNS):
                await asyncio.sleep(0)
            if self._sleepers and not task.done():
                self.now, _, future = heapq.heappop(self._sleepers)
                if not future.done():
                    future.set_result(None)
        return task.result()
