"""How a batch of inputs reaches a rule, whatever its form. The rule's result is not checked here."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from rewards.config import OwnRule
from rewards.custom_rules import RuleInput, form_of, load_rule

BATCH_SIZE = 32
Result = TypeVar("Result")


class Target(Protocol):
    """A rule that can be called.

    Attributes:
        batch_size: how many inputs it takes at once.
        concurrency: how many calls at once are its default.
    """

    batch_size: int
    concurrency: int

    async def start(self) -> None:
        """Makes it ready. Raises whatever the rule raises."""

    async def score(self, inputs: Sequence[RuleInput]) -> Sequence[object]:
        """What the rule returns for each input. Raises whatever the rule raises."""

    def tokens(self, item: RuleInput) -> float:
        """How many tokens a call for this input may take; 0 if the rule does not say."""


class LocalTarget:
    """A rule in this process. Classes are constructed at the first use; batches are scored in a thread."""

    def __init__(self, own: OwnRule) -> None:
        rule = load_rule(own.rule)
        self.form = form_of(rule)
        self.batch_size = 1
        self.concurrency = 32
        self._own = own
        self._rule = rule
        self._call: Callable[..., Any] | None = None
        self._estimate: Callable[..., float] | None = getattr(rule, "estimate_tokens", None)
        if self.form == "batch class":
            self.concurrency = 1
            self.batch_size = int(own.options.get("batch_size", getattr(rule, "batch_size", BATCH_SIZE)))

    async def start(self) -> None:
        if self._call is not None:
            return
        if self.form == "batch class":  # it may load a model, which takes long
            made = await in_thread(functools.partial(self._rule, **self._own.options))
            self.batch_size = max(1, int(getattr(made, "batch_size", self.batch_size)))
            self._call = made.score_batch
        elif self.form == "async class":  # its clients may want the loop that they will work in
            made = self._rule(**self._own.options)
            self._call = made
        else:
            made = None
            self._call = functools.partial(self._rule, **self._own.options)
        self._estimate = getattr(made or self._rule, "estimate_tokens", None)

    async def score(self, inputs: Sequence[RuleInput]) -> Sequence[object]:
        await self.start()
        assert self._call is not None  # `start` has set it
        if self.form == "batch class":
            found = await in_thread(functools.partial(self._call, inputs))
            values = list(await found if isinstance(found, Awaitable) else found)
            if len(values) != len(inputs):
                raise ValueError(f"score_batch gave {len(values)} values for {len(inputs)} inputs")
            return values
        if self.form == "function":
            return [await in_thread(functools.partial(self._call, *item)) for item in inputs]
        return [await self._call(*item) for item in inputs]

    def tokens(self, item: RuleInput) -> float:
        return float(self._estimate(*item)) if self._estimate else 0.0


async def in_thread(work: Callable[[], Result]) -> Result:
    """The result of `work`, done in a thread of its own, which does not keep the process alive."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def succeed(result: Result) -> None:
        if not done.done():  # somebody still waits
            done.set_result(result)

    def fail(error: Exception) -> None:
        if not done.done():
            done.set_exception(error)

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 (it is raised where the result is awaited)
            tell(fail, as_exception(error))
        else:
            tell(succeed, result)

    def tell(what: Callable[[Any], None], of: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(what, of)

    threading.Thread(target=run, daemon=True, name="own-rule").start()
    return await done


def as_exception(error: BaseException) -> Exception:
    """The error, as one that ends neither the loop nor the process, and that a future can carry."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
