"""Rules of one's own, found by `module:function` and called so that a fault hurts one response alone; two ready-made ones."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from curriculum.task import Task
from rewards.config import OwnRule
from rewards.reading.answers import read_marks
from rewards.reading.parser import parse
from rewards.verdict import Verdict

Rule = Callable[..., float]
"""(task, response, verdict so far, **options) to a number in [0, 1]."""


class RuleError(ValueError):
    """A rule cannot be found or called; the message says what would be right."""


@cache
def load_rule(name: str) -> Rule:
    """The function of "module:function". The working directory is searched too, as it is for a Ray job.

    Raises:
        RuleError: no such module or function, or it cannot take task, response and verdict.
    """
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        rule = getattr(importlib.import_module(module), function)
    except Exception as error:
        raise RuleError(
            f"rule {name}: cannot be loaded ({type(error).__name__}: {error}); it is module:function, the "
            "module in the working directory or installed"
        ) from error
    try:
        inspect.signature(rule).bind_partial(None, None, None)
    except (TypeError, ValueError):
        raise RuleError(f"rule {name}: it must take (task, response, verdict) and options by name") from None
    return rule


def check_rule(own: OwnRule) -> None:
    """Finds a rule and holds its options against its parameters, before there is any response.

    Raises:
        RuleError: as `load_rule`; or an option is unknown or missing.
    """
    signature = inspect.signature(load_rule(own.rule))
    try:
        signature.bind(None, None, None, **own.options)
    except TypeError as error:
        raise RuleError(f"rule {own.rule} with options {own.options}: {error}; it takes {signature}") from error


def check_own(rules: Mapping[str, OwnRule]) -> None:
    """`check_rule` for the rules of a recipe, by name. Raises RuleError, which names the one that cannot be used."""
    for name, own in rules.items():
        try:
            check_rule(own)
        except RuleError as error:
            raise RuleError(f"reward.rules.own.{name}: {error}") from error


def call_rule(own: OwnRule, task: Task, response: str, verdict: Verdict) -> tuple[float, str]:
    """The value of a rule and, where it has none, why: then it is 0. Whatever the rule raises ends here."""
    try:
        value = float(load_rule(own.rule)(task, response, verdict, **own.options))
    except Exception as error:
        return 0.0, f"rule {own.rule} failed: {type(error).__name__}: {error}"[:300]
    if not (math.isfinite(value) and 0 <= value <= 1):
        return 0.0, f"rule {own.rule} gave {value}; a number in [0, 1] is needed"
    return value, ""


def stage_order(task: Task, response: str, verdict: Verdict, *, stages: Sequence[str]) -> float:
    """How far the steps follow an order of reading, in [0, 1] (CXRTrek, arXiv 2505.23143, has eight stages).

    A step belongs to the first of `stages` that its think block or answer begins with, in any case. The value is the
    share of stages that occur, times the share of neighbouring stage changes that go forwards.
    """
    order = [stage.casefold() for stage in stages]
    places = [
        place
        for pair in parse(response).pairs
        if (place := _place(order, pair.think, read_marks(pair.answer)[0])) is not None
    ]
    changes = [b > a for a, b in zip(places, places[1:], strict=False) if a != b]
    return len(set(places)) / len(order) * (sum(changes) / len(changes) if changes else 1.0) if places else 0.0


def _place(order: Sequence[str], *texts: str) -> int | None:
    starts = [text.strip().casefold() for text in texts]
    return next((i for i, stage in enumerate(order) if any(text.startswith(stage) for text in starts)), None)


def length_guard(task: Task, response: str, verdict: Verdict, *, least: int, most: int) -> float:
    """1 for a response of `least` to `most` words, falling to 0 at none and at twice `most`."""
    words = len(response.split())
    return min(1.0, words / max(1, least), max(0.0, 2 - words / most))
