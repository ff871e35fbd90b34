"""Scores a response by rules: format, outcome, process and reason. docs/rewards.md explains the rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from curriculum.task import Task
from rewards.calls.own_rules import OwnRules, rules_of
from rewards.calls.runner import RuleValue
from rewards.config import RewardConfig
from rewards.custom_rules import RuleInput
from rewards.forms import FORMS
from rewards.forms.base import NO_ANSWER
from rewards.reading.parser import FormatFault, parse
from rewards.verdict import Verdict

CUT_OFF = "cut off at the length limit"


class Answer(NamedTuple):
    """A response to score. `truncated` says whether it was cut off at the length limit."""

    task: Task
    text: str
    truncated: bool = False


def score(task: Task, response: str, config: RewardConfig, truncated: bool = False) -> Verdict:
    """The verdict on one response. It never raises, whatever the text.

    Without own rules it is a pure function of its arguments. If a rule waits, so does this function; `score_all` lets
    such rules judge many responses at once.

    Args:
        truncated: whether the response was cut off at the length limit.
    """
    if not config.own:
        return _by_built_in_rules(task, response, config, truncated)[0]
    return score_all([Answer(task, response, truncated)], config, rules_of(config))[0]


def score_all(answers: Sequence[Answer], config: RewardConfig, rules: OwnRules) -> list[Verdict]:
    """The verdict on each response, in order.

    Args:
        rules: the own rules of `config`.
    """
    return begin_scores(answers, config, rules)()


def begin_scores(
    answers: Sequence[Answer],
    config: RewardConfig,
    rules: OwnRules,
    progress: Callable[[], None] = lambda: None,
) -> Callable[[], list[Verdict]]:
    """Does what need not wait, and begins the calls of own rules that wait.

    Args:
        rules: the own rules of `config`.
        progress: is called before anything is done for one more response.

    Returns:
        A function that waits for the verdicts: one for each response, in order.
    """
    items = []
    right = []
    for task, text, truncated in answers:
        progress()
        verdict, is_right = _by_built_in_rules(task, text, config, truncated)
        items.append(RuleInput(task, text, verdict))
        right.append(is_right)
    finish = rules.begin(items, right, progress)

    def verdicts() -> list[Verdict]:
        rows = finish()
        scored = zip(items, right, rows, strict=True)
        return [_with_own_rules(item, is_right, row, config, rules) for item, is_right, row in scored]

    return verdicts


def _by_built_in_rules(task: Task, response: str, config: RewardConfig, truncated: bool) -> tuple[Verdict, bool]:
    """The verdict without own rules, and whether the answer is right.

    Format is 1 if the parser finds no fault and the response was not cut off. The answer of the last pair is the final
    answer. Outcome, steps, process and reason are those of the task's form (`forms.FORMS`).
    """
    form = FORMS[task.form]
    if config.preset == "paper" and form.score_as_published is not None:
        published = form.score_as_published(task, response)
        return published, published.outcome >= 1
    parsed = parse(response)
    faults = parsed.faults
    if truncated:
        faults = (*faults, FormatFault(CUT_OFF, len(response)))
    answer = form.judge(task, parsed.pairs, config) if parsed.pairs else NO_ANSWER
    steps, process, reason, why = answer.steps, answer.process, answer.reason, answer.why
    if faults:
        steps = tuple(step._replace(score=0.0) for step in steps)
        process = reason = 0.0
    base = config.format * (not faults) + config.outcome * answer.outcome
    if faults and "format" in config.gates:
        base = 0.0
        why = (*why, f"format: {faults[0]}; the response earns nothing")
    paid = config.process * process + config.reason * reason
    is_right = answer.outcome >= 1 or answer.is_right
    if "outcome" in config.gates and not is_right:
        if paid:
            why = (*why, "process and reason are paid to a right answer only")
        paid = 0.0
    verdict = Verdict(
        total=base + paid,
        base=base,
        format=float(not faults),
        outcome=answer.outcome,
        process=process,
        reason=reason,
        answer=answer.answer,
        steps=steps,
        faults=faults,
        why=why,
        unread=answer.unread,
    )
    return verdict, is_right


def uses_published_score(task: Task, config: RewardConfig) -> bool:
    """Whether the published code's rules score the task: then process and reason are amounts, not shares."""
    return config.preset == "paper" and FORMS[task.form].score_as_published is not None


def _with_own_rules(
    item: RuleInput, is_right: bool, row: Sequence[RuleValue], config: RewardConfig, rules: OwnRules
) -> Verdict:
    """The verdict with the values of the own rules added to its base. They too pay nothing to a malformed response."""
    verdict = item.verdict
    total = 0.0
    values = []
    failed = []
    why = list(verdict.why)
    for entry, (value, fault) in zip(rules.entries, row, strict=True):
        values.append((entry.name, value))
        total += entry.own.weight * value
        if fault:
            failed.append(entry.name)
        if reason := fault or entry.not_asked(item, is_right):
            why.append(f"{entry.name}: {reason}")
    if verdict.faults and "format" in config.gates:
        total = 0.0
    return verdict._replace(
        total=verdict.total + total,
        base=verdict.base + total,
        more=tuple(values),
        why=tuple(why),
        failed=tuple(failed),
    )
