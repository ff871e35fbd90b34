"""Rules of a recipe's own: the forms that they may have, and how `module:name` is found and checked.

A rule is one of these, by the name of which a recipe calls it:

1. a function `(task, response, verdict, **options) -> float`
2. an `async def` of the same form
3. a class, constructed once per worker with the options, whose instances are
   `async def __call__(self, task, response, verdict) -> float`
4. a class with `def score_batch(self, inputs: Sequence[RuleInput]) -> Sequence[float]`, constructed in the same way. It
   gets as many inputs as wait at the moment, at most `batch_size` (an attribute of the class or the object). It may
   give an exception in place of a value: the fault of that response alone.

A rule of the forms 2 to 4 waits: `rewards/calls/` calls it, many at once. It may have these attributes, too:

- `opinion`: whether its value is a model's opinion. Such a value is paid to right answers only, unless the recipe says
  `right_only: false`. True for a rule that waits, False for a function, if there is no such attribute.
- `check_options(**options)`, a static method: raises ValueError, with the reason, if the options cannot be used.
- `estimate_tokens(task, response, verdict) -> int`: what `tokens_per_minute` counts for a call.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

from curriculum.task import Task
from rewards.config import OwnRule
from rewards.verdict import Verdict

RuleForm = Literal["function", "async function", "async class", "batch class"]
WAITING_SETTINGS = ("concurrency", "requests_per_minute", "tokens_per_minute", "timeout_s", "retries", "cache")


class RuleInput(NamedTuple):
    """What a rule judges: the verdict is that of the built-in rules."""

    task: Task
    response: str
    verdict: Verdict


class RuleError(ValueError):
    """A rule cannot be found or called; the message says what would be right."""


class RuleFault(ValueError):
    """A rule raises it if it has no value for this response, and another try would not help."""


@cache
def load_rule(name: str) -> Callable[..., Any]:
    """The function or class of "module:name". The working directory is searched too, as it is in a Ray job.

    Raises:
        RuleError: there is no such module or name, or it has none of the forms of a rule.
    """
    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        rule: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise RuleError(
            f"rule {name}: cannot be loaded ({type(error).__name__}: {error}); it is module:name, the "
            "module in the working directory or installed"
        ) from error
    if inspect.isclass(rule):
        _check_class(name, rule)
    elif not _takes(rule, None, None, None):
        raise RuleError(f"rule {name}: it must take (task, response, verdict) and options by name")
    return rule


def form_of(rule: Callable[..., Any]) -> RuleForm:
    """Which form a rule has."""
    if inspect.isclass(rule):
        return "batch class" if hasattr(rule, "score_batch") else "async class"
    return "async function" if _is_async(rule) else "function"


def waits(own: OwnRule) -> bool:
    """Whether a rule is called by `rewards/calls`: it is no plain function, or it has workers of its own.

    Raises:
        RuleError: as `load_rule`.
    """
    return own.own_workers > 0 or form_of(load_rule(own.rule)) != "function"


def is_opinion(own: OwnRule) -> bool:
    """Whether the value of a rule is a model's opinion. A rule that only its own workers can load is taken for one."""
    try:
        rule = load_rule(own.rule)
    except RuleError:
        if not own.own_workers:
            raise
        return True
    return bool(getattr(rule, "opinion", form_of(rule) != "function"))


def check_rule(own: OwnRule) -> None:
    """Loads a rule and checks its settings and options, before there is any response.

    A rule with a runtime environment may have packages that are found only there: then its workers check it.

    Raises:
        RuleError: as `load_rule`; or a setting or an option is unknown, missing, or of no use to this rule.
    """
    try:
        rule = load_rule(own.rule)
    except RuleError:
        if own.runtime_env is not None:
            return
        raise
    form = form_of(rule)
    given = [name for name in WAITING_SETTINGS if getattr(own, name) is not None]
    if given and form == "function" and not own.own_workers:
        raise RuleError(f"rule {own.rule}: it is a plain function, so {', '.join(given)} cannot be used; make it async")
    if own.tokens_per_minute is not None and not hasattr(rule, "estimate_tokens"):
        raise RuleError(
            f"rule {own.rule}: tokens_per_minute needs a rule with estimate_tokens(task, response, verdict)"
        )
    signature = inspect.signature(rule)
    try:
        signature.bind(*(() if inspect.isclass(rule) else (None, None, None)), **own.options)
        if hasattr(rule, "check_options"):
            rule.check_options(**own.options)
    except TypeError as error:
        raise RuleError(f"rule {own.rule} with options {own.options}: {error}; it takes {signature}") from error
    except ValueError as error:
        raise RuleError(f"rule {own.rule}: {error}") from error


def check_own(rules: Mapping[str, OwnRule]) -> None:
    """Checks every rule of a recipe, by name.

    Raises:
        RuleError: as `check_rule`; it names the rule that cannot be used.
    """
    for name, own in rules.items():
        try:
            check_rule(own)
        except RuleError as error:
            raise RuleError(f"reward.rules.own.{name}: {error}") from error


def call_rule(own: OwnRule, task: Task, response: str, verdict: Verdict) -> tuple[float, str]:
    """The value of a plain function, and the reason if it failed: then the value is 0. Never raises."""
    try:
        value = load_rule(own.rule)(task, response, verdict, **own.options)
    except Exception as error:  # noqa: BLE001 (the rule is the user's: whatever it raises hurts this response only)
        return 0.0, failure(own.rule, error)
    return checked_value(own.rule, value)


def checked_value(rule: str, found: object) -> tuple[float, str]:
    """What a rule returned, as a number; 0 and the reason if it is none in [0, 1]."""
    if inspect.iscoroutine(found):
        found.close()
        return 0.0, f"rule {rule} gave a coroutine; declare it as async def"
    if isinstance(found, Exception):  # a rule that takes batches gives it in place of a value
        return 0.0, failure(rule, found)
    try:
        value = float(found)  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 (a stranger's object may raise anything)
        return 0.0, failure(rule, error)
    if not (math.isfinite(value) and 0 <= value <= 1):
        return 0.0, f"rule {rule} gave {value}; a number in [0, 1] is needed"
    return value, ""


def failure(rule: str, error: BaseException) -> str:
    """A line that says how a rule failed."""
    return f"rule {rule} failed: {type(error).__name__}: {error}"[:300]


def _check_class(name: str, rule: type) -> None:
    if hasattr(rule, "score_batch"):
        if not _takes(rule.score_batch, None, None):
            raise RuleError(f"rule {name}: its score_batch must take (inputs)")
    elif not inspect.iscoroutinefunction(rule.__call__):
        raise RuleError(f"rule {name}: a class needs async def __call__(self, task, response, verdict), or score_batch")
    elif not _takes(rule.__call__, None, None, None, None):
        raise RuleError(f"rule {name}: its __call__ must take (task, response, verdict)")


def _takes(function: Callable[..., Any], *arguments: None) -> bool:
    try:
        inspect.signature(function).bind_partial(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def _is_async(rule: Callable[..., Any]) -> bool:
    """Whether a call gives a coroutine; also for partial functions, and for objects with an async `__call__`."""
    while isinstance(rule, functools.partial):
        rule = rule.func
    return inspect.iscoroutinefunction(rule) or inspect.iscoroutinefunction(getattr(rule, "__call__", None))  # noqa: B004
