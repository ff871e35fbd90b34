"""The rules of a recipe's own, ready to be called: plain functions in the caller's thread, the others in a loop."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from rewards.calls.runner import Place, RuleRunner, RuleValue
from rewards.calls.targets import LocalTarget, Target
from rewards.config import OwnRule, RewardConfig
from rewards.custom_rules import RuleInput, call_rule, is_opinion, waits

Result = TypeVar("Result")
NOT_ASKED = RuleValue(0.0)


@dataclass(frozen=True)
class Entry:
    """A rule under its name. `runner` calls it if it waits."""

    name: str
    own: OwnRule
    opinion: bool
    runner: RuleRunner | None

    @property
    def right_only(self) -> bool:
        return self.opinion if self.own.right_only is None else self.own.right_only

    def not_asked(self, item: RuleInput, right: bool) -> str:
        """Why the rule is not called, since it could earn nothing here; "" if it is called."""
        if self.opinion and item.verdict.faults:
            return "not asked about a malformed response"
        if self.right_only and not right:
            return "asked about right answers only"
        return ""


class OwnRules:
    """The rules of a recipe's own, by name.

    Args:
        targets: how to reach rules that run elsewhere; the others run in this process.

    Raises:
        RuleError: a rule cannot be loaded.
    """

    def __init__(
        self, rules: Mapping[str, OwnRule], place: Place | None = None, targets: Mapping[str, Target] | None = None
    ) -> None:
        self.entries: list[Entry] = []
        for name, own in rules.items():
            runner = None
            if waits(own):
                target = (targets or {}).get(name) or LocalTarget(own)
                runner = RuleRunner(name, own, target, place or Place())
            self.entries.append(Entry(name, own, is_opinion(own), runner))

    @property
    def runners(self) -> list[RuleRunner]:
        """Those of the rules that wait."""
        return [entry.runner for entry in self.entries if entry.runner]

    def start(self) -> None:
        """Makes the rules that wait ready, models loaded. Raises whatever a rule raises."""
        for runner in self.runners:
            _in_loop(runner.target.start()).result()

    def begin(
        self, items: Sequence[RuleInput], right: Sequence[bool], progress: Callable[[], None] = lambda: None
    ) -> Callable[[], list[list[RuleValue]]]:
        """Calls plain functions, and begins the calls of the rules that wait.

        Args:
            right: whether each response is right, so that what is paid to right answers only is asked of them only.
            progress: is called before each call of a plain function.

        Returns:
            A function that waits for the values: for each item, one for each rule, in order.
        """
        begun = [self._waiting(entry, items, right) for entry in self.entries]
        called = [self._functions(entry, items, right, progress) for entry in self.entries]

        def finish() -> list[list[RuleValue]]:
            columns = [future.result() if future else values for future, values in zip(begun, called, strict=True)]
            return [[column[number] for column in columns] for number in range(len(items))]

        return finish

    def ask(self, name: str, item: RuleInput) -> RuleValue:
        """The value of one rule that waits for one response, whatever its verdict."""
        runner = next(entry.runner for entry in self.entries if entry.name == name and entry.runner)
        return _in_loop(runner.value(item)).result()

    def share_with(self, workers: int) -> None:
        """Takes its part of the limits among so many reward workers from now on."""
        for runner in self.runners:
            _loop().call_soon_threadsafe(runner.share_with, workers)

    def take_notes(self) -> list[str]:
        """What happened since the last call that concerns a rule as a whole, in words."""

        async def take() -> list[str]:
            return [note for runner in self.runners for note in runner.take_notes()]

        return _in_loop(take()).result()

    def is_alive(self, timeout_s: float) -> bool:
        """Whether the loop still answers; a rule that blocks it stops all others."""
        try:
            _in_loop(asyncio.sleep(0)).result(timeout_s)
        except TimeoutError:
            return False
        return True

    @staticmethod
    def _functions(
        entry: Entry, items: Sequence[RuleInput], right: Sequence[bool], progress: Callable[[], None]
    ) -> list[RuleValue]:
        if entry.runner:
            return []
        values = []
        for item, is_right in zip(items, right, strict=True):
            progress()
            called = not entry.not_asked(item, is_right)
            values.append(RuleValue(*call_rule(entry.own, *item)) if called else NOT_ASKED)
        return values

    @staticmethod
    def _waiting(entry: Entry, items: Sequence[RuleInput], right: Sequence[bool]) -> Future[list[RuleValue]] | None:
        runner = entry.runner
        if runner is None:
            return None
        asked = [not entry.not_asked(item, is_right) for item, is_right in zip(items, right, strict=True)]

        async def gather() -> list[RuleValue]:
            found = iter(
                await asyncio.gather(*(runner.value(item) for item, ask in zip(items, asked, strict=True) if ask))
            )
            return [next(found) if ask else NOT_ASKED for ask in asked]

        return _in_loop(gather())


def rules_of(config: RewardConfig) -> OwnRules:
    """The rules of a recipe's own in this process, the same object for the same settings."""
    return _rules_of(config.model_dump_json(include={"own"}))


@functools.lru_cache(maxsize=8)
def _rules_of(own: str) -> OwnRules:
    return OwnRules(RewardConfig.model_validate_json(own).own)


def _in_loop(work: Coroutine[Any, Any, Result]) -> Future[Result]:
    return asyncio.run_coroutine_threadsafe(work, _loop())


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """The loop of all waiting rules of this process, in a thread of its own: clients outlive a single call."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True, name="own-rules").start()
    return loop
