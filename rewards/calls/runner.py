"""Calls one waiting rule for many responses at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rewards.calls.clock import Clock
from rewards.calls.outage import EndpointDown, Outage
from rewards.calls.rate_limit import RateLimit, part_of
from rewards.calls.retries import is_worth_retrying, pause_s
from rewards.calls.targets import Target, as_exception
from rewards.calls.value_cache import ValueCache, content_key
from rewards.config import OwnRule
from rewards.custom_rules import RuleFault, RuleInput, checked_value, failure


class RuleValue(NamedTuple):
    """The value of a rule for one response. If it has none, `value` is 0 and `fault` says why."""

    value: float
    fault: str = ""


@dataclass(frozen=True)
class Place:
    """Where a rule is called: in reward worker `rank` of `workers`. `cache` is the folder of values kept on disk."""

    rank: int = 0
    workers: int = 1
    cache: Path | None = None


class RuleRunner:
    """Calls a rule, at most `concurrency` times at once, within its limits. A fault hurts one response only.

    Not for several threads: everything happens in one event loop.

    Attributes:
        calls: how many tries reached the rule so far.
    """

    def __init__(self, name: str, own: OwnRule, target: Target, place: Place, clock: Clock | None = None) -> None:
        self.name, self.own, self.target = name, own, target
        self.clock = clock or Clock()
        self.calls = 0
        self.outage = Outage(name, self.clock)
        on_disk = own.cache == "disk" and place.cache is not None
        folder = place.cache / name if on_disk and place.cache else None
        self.cache = None if own.cache == "none" else ValueCache(folder=folder, writer=f"worker-{place.rank}")
        self._place = place
        self._waiting: deque[tuple[RuleInput, str, asyncio.Future[RuleValue]]] = deque()
        self._pending: dict[str, asyncio.Future[RuleValue]] = {}
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop itself keeps only weak references
        self._limits = self._make_limits()

    def share_with(self, workers: int) -> None:
        """Takes its part of the limits among so many workers from now on."""
        if workers == self._place.workers:
            return
        self._place = Place(self._place.rank, workers, self._place.cache)
        for limit, per_minute in zip(self._limits, self._per_minute(), strict=True):
            limit.amount, limit.window_s = part_of(per_minute, self._place.rank, workers)

    def take_notes(self) -> list[str]:
        """What happened since the last call that concerns the rule as a whole, in words."""
        lists = [self.outage.notes, *([self.cache.notes] if self.cache else [])]
        notes = [note for notes in lists for note in notes]
        for each in lists:
            each.clear()
        return notes

    async def value(self, item: RuleInput) -> RuleValue:
        """The value for one response. Equal content is judged once, also while the first call is still going on."""
        key = content_key(self.own, item)
        if self.cache is not None:
            known = self.cache.get(key)
            if known is not None:
                return RuleValue(known)
            if key in self._pending:
                return await asyncio.shield(self._pending[key])
        future: asyncio.Future[RuleValue] = asyncio.get_running_loop().create_future()
        self._pending[key] = future
        self._waiting.append((item, key, future))
        concurrency = self.own.concurrency or self.target.concurrency
        if self._running < concurrency:
            self._running += 1
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(future)

    async def _work(self) -> None:
        """Takes waiting inputs, as many as the rule takes at once, until none is left."""
        try:
            while self._waiting:
                await asyncio.sleep(0)  # those who come at the same time share a batch
                count = min(len(self._waiting), self.target.batch_size)
                batch = [self._waiting.popleft() for _ in range(count)]
                if not batch:
                    continue
                try:
                    values = await self._judge([item for item, _, _ in batch], batch[0][1])
                except Exception as error:  # noqa: BLE001 (such as one of the rule's `estimate_tokens`)
                    values = [RuleValue(0.0, failure(self.own.rule, error))] * len(batch)
                for (_, key, future), value in zip(batch, values, strict=True):
                    self._deliver(key, future, value)
        finally:
            self._running -= 1

    def _deliver(self, key: str, future: asyncio.Future[RuleValue], value: RuleValue) -> None:
        if self.cache is not None and not value.fault:
            self.cache.put(key, value.value)
        self._pending.pop(key, None)
        if not future.done():
            future.set_result(value)

    async def _judge(self, items: Sequence[RuleInput], key: str) -> list[RuleValue]:
        """The value of each input. A batch that fails is tried in halves, down to the input at fault."""
        found = await self._try(items, key)
        if not isinstance(found, str):
            return [RuleValue(*checked_value(self.own.rule, value)) for value in found]
        if len(items) == 1:
            return [RuleValue(0.0, found)]
        middle = len(items) // 2
        return [*await self._judge(items[:middle], key), *await self._judge(items[middle:], key)]

    async def _try(self, items: Sequence[RuleInput], key: str) -> Sequence[object] | str:
        """What the rule returned for the inputs, after as many tries as it has; or why it failed in the last."""
        tries = 0
        while True:
            try:
                await self.target.start()
                probe = await self.outage.wait()
            except EndpointDown as error:
                return f"rule {self.own.rule}: {error}"
            except Exception as error:  # noqa: BLE001 (a constructor may raise anything)
                return failure(self.own.rule, error)
            await self._take_limits(items)
            self.calls += 1
            try:
                found = await self._within_limit(items)
            except Exception as error:  # noqa: BLE001 (the rule is the user's)
                why = self._words(error)
                if not is_worth_retrying(error):
                    self.outage.answered()
                    return why
                self.outage.failed(why, probe, first=tries == 0)
                if not probe or self.outage.is_long:  # who only finds out that it is still down loses no try
                    tries += 1
                if tries > self.own.max_retries or (probe and self.outage.is_long):
                    return why
                await self.clock.sleep(pause_s(max(1, tries), key, error))
            else:
                self.outage.answered()
                return found

    async def _within_limit(self, items: Sequence[RuleInput]) -> Sequence[object]:
        """One try. A rule that does not heed its cancellation is left behind, not waited for."""
        task = asyncio.create_task(_guarded(self.target, items))
        task.add_done_callback(_take_exception)
        await asyncio.wait({task}, timeout=self.own.try_limit_s)
        if task.done():
            return task.result()
        task.cancel()
        raise TimeoutError(f"no answer within {self.own.try_limit_s:g} s")

    async def _take_limits(self, items: Sequence[RuleInput]) -> None:
        tokens = sum(self.target.tokens(item) for item in items) if self.own.tokens_per_minute else 0.0
        for limit, cost in zip(self._limits, self._costs(tokens), strict=True):
            await limit.take(cost)

    def _per_minute(self) -> list[float]:
        both = (self.own.requests_per_minute, self.own.tokens_per_minute)
        return [per_minute for per_minute in both if per_minute is not None]

    def _costs(self, tokens: float) -> list[float]:
        costs = ((self.own.requests_per_minute, 1.0), (self.own.tokens_per_minute, tokens))
        return [cost for per_minute, cost in costs if per_minute is not None]

    def _make_limits(self) -> list[RateLimit]:
        parts = [part_of(per_minute, self._place.rank, self._place.workers) for per_minute in self._per_minute()]
        return [RateLimit(amount, window_s, self.clock) for amount, window_s in parts]

    def _words(self, error: BaseException) -> str:
        if isinstance(error, RuleFault):
            return f"rule {self.own.rule}: {error}"[:300]
        return failure(self.own.rule, error)


async def _guarded(target: Target, items: Sequence[RuleInput]) -> Sequence[object]:
    """Calls the rule; an exception that would end the loop becomes one that does not."""
    try:
        return await target.score(items)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        raise as_exception(error) from error


def _take_exception(task: asyncio.Task[Sequence[object]]) -> None:
    """Reads the result of a task that may have been left behind, so that asyncio does not report it."""
    if not task.cancelled():
        task.exception()
