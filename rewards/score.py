"""Scores a response by rules: format, outcome, process and reason. docs/rewards.md explains the rules."""

from __future__ import annotations

from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.custom_rules import call_rule
from rewards.forms import FORMS
from rewards.forms.base import NO_ANSWER
from rewards.reading.parser import FormatFault, parse
from rewards.verdict import Verdict

CUT_OFF = "cut off at the length limit"


def score(task: Task, response: str, config: RewardConfig, truncated: bool = False) -> Verdict:
    """The verdict on one response: a pure function of its arguments that never raises, whatever the text.

    Format is 1 if the parser finds no fault and the response was not cut off. The answer of the last pair is the final
    answer. Outcome, steps, process and reason are those of the task's form (`forms.FORMS`).

    Args:
        truncated: whether the response was cut off at the length limit.
    """
    form = FORMS[task.form]
    if config.preset == "paper" and form.score_as_published is not None:
        return form.score_as_published(task, response)
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
    if "outcome" in config.gates and answer.outcome < 1 and not answer.is_right:
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
    return _with_own_rules(verdict, task, response, config) if config.own else verdict


def uses_published_score(task: Task, config: RewardConfig) -> bool:
    """Whether the published code's rules score the task: then process and reason are amounts, not shares."""
    return config.preset == "paper" and FORMS[task.form].score_as_published is not None


def _with_own_rules(verdict: Verdict, task: Task, response: str, config: RewardConfig) -> Verdict:
    """Adds the recipe's own rules to the base. They too pay nothing to a malformed response."""
    total = 0.0
    values = []
    why = list(verdict.why)
    for name, own in config.own.items():
        value, fault = call_rule(own, task, response, verdict)
        values.append((name, value))
        total += own.weight * value
        if fault:
            why.append(f"{name}: {fault}")
    if verdict.faults and "format" in config.gates:
        total = 0.0
    return verdict._replace(total=verdict.total + total, base=verdict.base + total, more=tuple(values), why=tuple(why))
