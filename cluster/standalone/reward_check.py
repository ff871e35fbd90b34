"""`curlvpr reward check`: tries a user's own rule on sample responses before a run depends on it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from cluster.errors import UserError
from cluster.standalone.reward_file import Row, read_rows
from curriculum.task import Task
from rewards.calls.own_rules import OwnRules
from rewards.calls.runner import RuleValue
from rewards.config import OwnRule, RewardConfig
from rewards.custom_rules import RuleError, RuleInput, call_rule, check_rule, failure, waits

SHOWN = 20
_CLOSED = Task(
    id="closed",
    domain="closed",
    form="letters",
    family="single_choice",
    question="Which finding is seen?",
    images=("-",),
    options={"A": "Mass", "B": "Edema"},
    gold=("B",),
    reference="<think>No mass is seen.</think><answer>A) ❌</answer><think>There is edema.</think>"
    "<answer>B) ✅</answer><think>Only edema.</think><answer>B</answer>",
)
_OPEN = Task(
    id="open",
    domain="open",
    form="names",
    family="diagnosis",
    question="Name all findings.",
    images=("-",),
    gold=("Edema",),
    reference="<think>Candidates to weigh.</think><answer>Edema, Mass</answer><think>There is edema.</think>"
    "<answer>Edema ✅</answer><think>No mass is seen.</think><answer>Mass ❌</answer><think>Only edema.</think>"
    "<answer>Edema</answer>",
)
_TEXT = Task(
    id="text",
    domain="open",
    form="text",
    family="impression",
    images=("-",),
    question="Write the impression section of the report.",
    gold=("Pulmonary edema. No mass.",),
    reference="<think>In sum.</think><answer>Pulmonary edema. No mass.</answer>",
)


def sample_rows() -> Iterator[Row]:
    """Responses of every kind that a rule meets in a run: right, wrong, malformed, cut off, empty."""
    for task in (_CLOSED, _OPEN, _TEXT):
        right = task.reference or ""
        wrong = "<think>There is a mass.</think><answer>{}</answer>".format("A" if task is _CLOSED else "Mass")
        for name, response in (
            ("right", right),
            ("wrong", wrong),
            ("malformed", f"So: {right}</think>"),
            ("no format", "Edema."),
            ("cut off", right[:-20]),
            ("empty", ""),
        ):
            yield Row(f"{task.id}, {name}", task, response, name == "cut off")


def check_lines(name: str, options: str, path: Path | None) -> Iterator[str]:
    """Calls a rule twice on each response of a file, or on samples; yields a table with a line for the first of them.

    Args:
        name: the rule, module:function.
        options: its options, a JSON object.
        path: JSON lines as `read_rows` takes them; None for `sample_rows`.

    Raises:
        UserError: the rule or the options cannot be used; or, raised after all responses, a call raised an exception,
            gave no number in [0, 1], or gave another number the second time.
    """
    rule = _own_rule(name, options)
    config = RewardConfig()
    rows = read_rows(path, config) if path else sample_rows()
    yield from _try_rule(rule, rows, config)


def _try_rule(rule: OwnRule, rows: Iterable[Row], config: RewardConfig) -> Iterator[str]:
    call = _caller(rule)
    values: list[float] = []
    seconds: list[float] = []
    faults: list[str] = []
    yield f"{'response':<32}{'value':>7}{'ms':>10}"
    for row in rows:
        item = RuleInput(row.task, row.response, row.score(config))
        start = time.perf_counter()
        value, fault = call(item)
        seconds.append(time.perf_counter() - start)
        again, _ = call(item)
        if not fault and again != value:
            fault = f"rule {rule.rule} gave {value:g} and then {again:g} for the same response"
        values.append(value)
        if fault:
            faults.append(f"{row.where}: {fault}")
        if len(values) <= SHOWN:
            yield f"{row.where:<32}{'fault' if fault else f'{value:.3f}':>7}{1000 * seconds[-1]:>10.3f}"
    if len(values) > SHOWN:
        yield f"… and {len(values) - SHOWN} more"
    if faults:
        more = f" (and {len(faults) - 1} more responses)" if len(faults) > 1 else ""
        raise UserError(faults[0] + more)
    if values:
        yield (
            f"{rule.rule}: {len(values)} responses, {min(values):.3f} to {max(values):.3f}; "
            f"a call took {1000 * sum(seconds) / len(seconds):.3f} ms, at most {1000 * max(seconds):.3f} ms"
        )


def _caller(rule: OwnRule) -> Callable[[RuleInput], RuleValue]:
    """Calls the rule for one response, every time anew, and also where a run would not ask it."""
    if not waits(rule):
        return lambda item: RuleValue(*call_rule(rule, *item))
    own_rules = OwnRules({"rule": rule.model_copy(update={"cache": "none"})})
    try:
        own_rules.start()
    except Exception as error:
        raise UserError(failure(rule.rule, error)) from error
    return lambda item: own_rules.ask("rule", item)


def _own_rule(name: str, options: str) -> OwnRule:
    try:
        values = json.loads(options)
        if not isinstance(values, dict):
            raise ValueError(f"found {type(values).__name__}")
    except (ValueError, RecursionError) as error:
        raise UserError(
            f'--options {options:.80}: it must be a JSON object, such as {{"least": 20}} ({error})'
        ) from error
    try:
        own = OwnRule(rule=name, weight=1, options=values)
        check_rule(own)
    except ValidationError as error:
        raise UserError(f"{name}: a rule is written module:name, such as rewards.own:length_guard") from error
    except RuleError as error:
        raise UserError(str(error)) from error
    return own
