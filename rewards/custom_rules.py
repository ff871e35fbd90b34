"""Rules of a recipe's own: loaded by `module:function`, and called so that a fault hurts one response only."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import sys
from collections.abc import Callable, Mapping
from functools import cache

from curriculum.task import Task
from rewards.config import OwnRule
from rewards.verdict import Verdict

Rule = Callable[..., float]
"""Takes (task, response, verdict so far, **options); returns a number in [0, 1]."""


class RuleError(ValueError):
    """A rule cannot be found or called; the message says what would be right."""


@cache
def load_rule(name: str) -> Rule:
    """The function of "module:function". The working directory is searched too, as it is in a Ray job.

    Raises:
        RuleError: there is no such module or function, or it cannot take task, response and verdict.
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
    """Loads a rule and checks its options against its parameters, before there is any response.

    Raises:
        RuleError: as `load_rule`; or an option is unknown or missing.
    """
    signature = inspect.signature(load_rule(own.rule))
    try:
        signature.bind(None, None, None, **own.options)
    except TypeError as error:
        raise RuleError(f"rule {own.rule} with options {own.options}: {error}; it takes {signature}") from error


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
    """The value of a rule, and the reason if it failed: then the value is 0. Never raises, whatever the rule does."""
    try:
        value = float(load_rule(own.rule)(task, response, verdict, **own.options))
    except Exception as error:  # noqa: BLE001 (the rule is the user's: whatever it raises hurts this response only)
        return 0.0, f"rule {own.rule} failed: {type(error).__name__}: {error}"[:300]
    if not (math.isfinite(value) and 0 <= value <= 1):
        return 0.0, f"rule {own.rule} gave {value}; a number in [0, 1] is needed"
    return value, ""
