"""Judges the steps of a response: each puts one mark on one candidate.

A step is compared with the gold, with the final answer and with the known facts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from functools import lru_cache
from typing import NamedTuple

from curriculum.task import NO_FINDING
from rewards.answer_key import AnswerKey, repeats
from rewards.comparison.attributes import attributes_of_names, differences, likenesses
from rewards.comparison.facts import agreement, facts_of
from rewards.comparison.overlap import order_kept
from rewards.config import RewardConfig
from rewards.reading.answers import MAX_CHARACTERS, read_marks
from rewards.reading.parser import Pair
from rewards.verdict import Judgement, StepVerdict


class JudgedSteps(NamedTuple):
    """Verdicts on steps, and their process and reason in [0, 1]."""

    steps: tuple[StepVerdict, ...]
    process: float
    reason: float


class Candidates(NamedTuple):
    """What the steps of a response are about.

    Attributes:
        read: the candidate that an answer without its mark names, None if it names none.
        allowed: the candidates that a step may judge.
        required: the candidates that the response must judge.
    """

    read: Callable[[str], str | None]
    allowed: Set[str]
    required: Set[str]


class _Step(NamedTuple):
    """A step as read: `name` is None if it judges none of the candidates."""

    pair: Pair
    name: str | None
    marks: tuple[bool, ...]


class _Judged(NamedTuple):
    """`is_left_out`: the step is a fault only because the final answer leaves out what it accepts, and rightly so."""

    judgement: Judgement
    why: str
    grounding: float | None = None
    is_left_out: bool = False


def judge_steps(
    pairs: Sequence[Pair],
    candidates: Candidates,
    key: AnswerKey,
    final: Sequence[str] | None,
    config: RewardConfig,
    accepted: str | None = None,
) -> JudgedSteps:
    """A verdict on each pair before the last, the summary: each judges one of the candidates with ✅ or ❌.

    The score of a right step is the share of candidates that are judged without a fault, so that leaving out the
    doubtful ones doesn't pay. A right ✅ that the final answer leaves out is a fault, so it counts for nothing in
    process and reason; but its score is that of a right step without grounding: the final answer is to blame. Process
    is sensitivity + specificity − 1 over the required candidates (Youden's J), at least 0, so that the same mark
    everywhere earns nothing; a candidate without a sound step counts as missed. Reason is process times the mean
    grounding of the right steps, over all candidates with known facts. Neither depends on the order of the steps.

    Args:
        final: the final answer, None if it cannot be read.
        accepted: the candidate that a marked summary accepts. It counts as judged if no step judges it.
    """
    *judging, summary = pairs
    steps = [_read(pair, candidates) for pair in judging]
    judged = _judge_each(steps, summary, candidates.required, key, final, config, accepted)
    checkable = _checkable(key, frozenset(candidates.required))

    covered = 0.0
    if key.asks_for_steps:
        sound = sum(
            verdict.judgement in ("right", "wrong") and step.name in candidates.required
            for step, verdict in zip(steps, judged, strict=True)
        )
        covered = sound / max(1, len(checkable.names & candidates.allowed))
    reason_share = config.reason / (config.process + config.reason) if config.reason else 0.0

    groundings: dict[str, float] = {}  # of the candidates that a right step judges
    verdicts = []
    for (pair, name, _), (judgement, why, grounding, is_left_out) in zip(steps, judged, strict=True):
        score = 0.0
        if is_left_out:
            score = covered * (1 - reason_share)
        if judgement == "right" and name is not None:
            groundings[name] = grounding or 0.0
            score = covered * (1 - reason_share + reason_share * (1.0 if grounding is None else grounding))
        verdicts.append(StepVerdict(pair.start, pair.end, name, judgement, score, why, grounding))

    if not key.asks_for_steps or not checkable.groups:
        return JudgedSteps(tuple(verdicts), 0.0, 0.0)
    if accepted is not None and key.is_right(accepted) and all(step.name != accepted for step in steps):
        groundings[accepted] = 0.0
    rates = [len(group & groundings.keys()) / len(group) for group in checkable.groups]
    process = max(0.0, sum(rates) - (len(rates) - 1))
    reason = 0.0
    if config.reason and checkable.with_facts:
        # An exact sum doesn't depend on the order of a set.
        total = math.fsum(groundings[name] for name in checkable.with_facts & groundings.keys())
        reason = process * total / len(checkable.with_facts)
    return JudgedSteps(tuple(verdicts), process, reason)


class _Checkable(NamedTuple):
    """The required candidates on which the gold decides.

    Attributes:
        names: all of them.
        groups: the right ones and the wrong ones, without an empty group.
        with_facts: those with expected facts.
    """

    names: frozenset[str]
    groups: tuple[frozenset[str], ...]
    with_facts: frozenset[str]


@lru_cache(maxsize=256)  # the responses of a group require much the same
def _checkable(key: AnswerKey, required: frozenset[str]) -> _Checkable:
    names = frozenset(name for name in required if key.is_verifiable(name))
    right = frozenset(name for name in names if key.is_right(name))
    groups = tuple(group for group in (right, names - right) if group)
    return _Checkable(names, groups, frozenset(name for name in names if key.expected_of(name)))


def _read(pair: Pair, candidates: Candidates) -> _Step:
    if len(pair.answer) > MAX_CHARACTERS:
        return _Step(pair, None, ())
    text, marks = read_marks(pair.answer)
    name = candidates.read(text) if text else None
    return _Step(pair, name if name in candidates.allowed else None, tuple(marks))


def _judge_each(
    steps: Sequence[_Step],
    summary: Pair,
    required: Set[str],
    key: AnswerKey,
    final: Sequence[str] | None,
    config: RewardConfig,
    accepted: str | None,
) -> list[_Judged]:
    contradictory = _judged_in_different_ways(steps)
    seen: set[str] = set()
    judged: list[_Judged] = []
    for step in steps:
        pair, name, marks = step
        if name is None:
            judged.append(_Judged("fault", f"{read_marks(pair.answer)[0]!r:.40} is not one of the candidates"))
            continue
        is_summary = repeats(pair, summary)
        if name in contradictory:
            fault = f"{name} is judged more than once, in different ways"
        elif name in seen:
            fault = f"{name} was judged before"
        else:
            fault = _fault(pair, name, marks, final)
            if not fault and is_summary and accepted is None:
                fault = "it is the final answer, given before"
        seen.add(name)
        if fault:
            is_left_out = fault == _left_out(name) and key.is_right(name)
            judged.append(_Judged("fault", fault, is_left_out=is_left_out))
        else:
            judged.append(_judge(pair, name, marks[0], key, config, is_summary))
    return judged


def _judged_in_different_ways(steps: Sequence[_Step]) -> set[str | None]:
    """The candidates of which two steps differ in the think block or the marks."""
    first: dict[str | None, tuple[str, tuple[bool, ...]]] = {}
    differing: set[str | None] = set()
    for pair, name, marks in steps:
        way = pair.think.strip(), marks
        if first.setdefault(name, way) != way:
            differing.add(name)
    return differing


def _fault(pair: Pair, name: str, marks: tuple[bool, ...], final: Sequence[str] | None) -> str:
    """Why a step on a candidate is not sound, "" if it is."""
    if len(marks) != 1:
        return f"{len(marks) or 'no'} marks on {name}; one is needed"
    if not pair.think.strip():
        return f"nothing was thought about {name}"
    mark = "✅" if marks[0] else "❌"
    if final is None:
        return f"{name} {mark} cannot be compared with the final answer, which is unreadable"
    is_named = name in final or (name == NO_FINDING and not final)
    if marks[0] and not is_named:
        return _left_out(name)
    if is_named and not marks[0]:
        return f"{name} {mark} contradicts the final answer"
    return ""


def _left_out(name: str) -> str:
    return f"{name} ✅ contradicts the final answer"


def _judge(pair: Pair, name: str, mark: bool, key: AnswerKey, config: RewardConfig, is_summary: bool) -> _Judged:
    """The judgement of a sound step. A step that repeats the summary gets grounding 0.

    A step that accepts a gold finding with another side than the gold's is wrong, if the recipe compares sides.
    """
    if not key.is_verifiable(name):
        return _Judged("unverifiable", f"the gold does not decide whether {name} is present")
    is_right = key.is_right(name)
    judgement: Judgement = "right" if mark == is_right else "wrong"
    why = f"{name} is {'' if is_right else 'not '}in the gold"
    if config.attributes and mark and is_right and name in key.attributes:
        said = attributes_of_names([read_marks(pair.answer)[0]])
        if likenesses(said, key.attributes, [name], config.attributes).get(name) == 0:
            return _Judged("wrong", differences(said, key.attributes, [name], config.attributes))
    expected = key.expected_of(name) if config.reason > 0 else None
    if not expected:
        return _Judged(judgement, why)
    grounding = 0.0
    if not is_summary:
        stated = facts_of(pair.think)
        grounding = agreement(stated, expected, key.truth_for(name), config.attributes, key.attributes).f1
    if grounding:
        grounding *= order_kept(pair.think, key.reference_thinks.get(name, ""))
    return _Judged(judgement, f"{why}; facts of its think block {grounding:.2f}", grounding)
