"""Judges the steps of a response: one mark on one candidate each, held against gold, final answer and known facts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from functools import lru_cache
from typing import NamedTuple

from curriculum.task import NO_FINDING
from rewards.answer_key import Key, repeats
from rewards.config import RewardConfig
from rewards.findings.facts import agreement, facts_of
from rewards.findings.overlap import order_kept
from rewards.reading.answers import LONGEST, read_marks
from rewards.reading.parser import Pair
from rewards.verdict import Judgement, StepVerdict


class Judged(NamedTuple):
    """Verdicts on steps, and their process and reason in [0, 1]."""

    steps: tuple[StepVerdict, ...]
    process: float
    reason: float


def judge_steps(
    pairs: Sequence[Pair],
    read_candidate: Callable[[str], str | None],
    candidates: Set[str],
    asked: Set[str],
    key: Key,
    final: Sequence[str] | None,
    config: RewardConfig,
    accepted: str | None = None,
) -> Judged:
    """A verdict for each pair before the last, the summary: it judges one of the candidates with ✅ or ❌.

    A right step is worth the share of candidates judged without a fault: to pass over the doubtful ones must not pay.
    Process is sensitivity + specificity − 1 over what is asked for (Youden's J), at least 0, so that one mark for all earns
    nothing; one without a sound step counts as missed. Reason is process times the mean grounding of the right steps over
    all of which facts are known. Neither depends on the order of the steps.

    Args:
        candidates: what a step may judge.
        asked: what must be judged.
        accepted: the candidate that a marked summary accepts; it counts as judged where no step judges it.
    """
    *judging, summary = pairs
    read = [_read(pair, read_candidate, candidates) for pair in judging]
    first: dict[str | None, tuple] = {}  # how a candidate is judged
    differing: set[str | None] = set()
    for pair, (name, marks) in zip(judging, read, strict=True):
        way = pair.think.strip(), marks
        if first.setdefault(name, way) != way:
            differing.add(name)
    seen: set[str | None] = set()
    sound = 0
    judged: list[tuple[Judgement, str, float | None]] = []
    for pair, (name, marks) in zip(judging, read, strict=True):
        again = repeats(pair, summary)
        if name is None:
            fault = f"{read_marks(pair.answer)[0]!r:.40} is not one of the candidates"
        elif name in differing:
            fault = f"{name} is judged more than once, in different ways"
        elif name in seen:
            fault = f"{name} was judged before"
        else:
            fault = _fault(pair, name, marks, final)
            if not fault and again and accepted is None:
                fault = "it is the final answer, given before"
        seen.add(name)
        judged.append(("fault", fault, None) if fault else _judge(pair, name, marks[0], key, config.reason > 0, again))
        sound += judged[-1][0] in ("right", "wrong") and name in asked

    sure, groups, known = _what_is_sure(key, frozenset(asked))
    covered = sound / max(1, len(sure & candidates)) if key.weighs else 0.0
    share = config.reason / (config.process + config.reason) if config.reason else 0.0
    right: dict[str | None, float] = {}
    steps = []
    for pair, (name, _), (judgement, why, grounding) in zip(judging, read, judged, strict=True):
        score = 0.0
        if judgement == "right":
            right[name] = grounding or 0.0
            score = covered * (1 - share + share * (1.0 if grounding is None else grounding))
        steps.append(StepVerdict(pair.start, pair.end, name, judgement, score, why, grounding))
    if not key.weighs or not groups:
        return Judged(tuple(steps), 0.0, 0.0)
    if accepted not in first and key.is_right(accepted):
        right[accepted] = 0.0
    rates = [len(group & right.keys()) / len(group) for group in groups]
    process = max(0.0, sum(rates) - (len(rates) - 1))
    reason = 0.0
    if config.reason and known:
        # Exact, so that it does not depend on the order of a set.
        reason = process * math.fsum(map(right.get, known & right.keys())) / len(known)
    return Judged(tuple(steps), process, reason)


class _Sure(NamedTuple):
    """What is asked for and can be told: all of it, its right and its wrong part, each where it is not empty, and that of
    which facts are known."""

    names: frozenset[str]
    groups: tuple[frozenset[str], ...]
    known: frozenset[str]


@lru_cache(maxsize=256)  # a group's responses are asked for much the same
def _what_is_sure(key: Key, asked: frozenset[str]) -> _Sure:
    names = frozenset(name for name in asked if key.verifiable(name))
    right = frozenset(name for name in names if key.is_right(name))
    return _Sure(
        names,
        tuple(group for group in (right, names - right) if group),
        frozenset(name for name in names if key.wanted_of(name)),
    )


def _read(
    pair: Pair, read_candidate: Callable[[str], str | None], candidates: Set[str]
) -> tuple[str | None, tuple[bool, ...]]:
    """The candidate that a step judges, None where it is none of them, and its marks."""
    if len(pair.answer) > LONGEST:
        return None, ()
    text, marks = read_marks(pair.answer)
    name = read_candidate(text) if text else None
    return name if name in candidates else None, tuple(marks)


def _fault(pair: Pair, name: str, marks: tuple[bool, ...], final: Sequence[str] | None) -> str:
    """Why a step on a candidate is not sound, "" where it is."""
    if len(marks) != 1:
        return f"{len(marks) or 'no'} marks on {name}; one is needed"
    if not pair.think.strip():
        return f"nothing was thought about {name}"
    mark = "✅" if marks[0] else "❌"
    if final is None:
        return f"no final answer can be read that {name} {mark} would agree with"
    if marks[0] != (name in final or (name == NO_FINDING and not final)):
        return f"{name} {mark} contradicts the final answer"
    return ""


def _judge(
    pair: Pair, name: str, said: bool, key: Key, ground: bool, again: bool
) -> tuple[Judgement, str, float | None]:
    """Judgement, why and grounding of a sound step. One that is the summary `again` has no thought of its own."""
    if not key.verifiable(name):
        return "unverifiable", f"the gold does not tell whether {name} is there", None
    true = key.is_right(name)
    judgement: Judgement = "right" if said == true else "wrong"
    why = f"{name} is {'' if true else 'not '}in the gold"
    wanted = key.wanted_of(name) if ground else None
    if not wanted:
        return judgement, why, None
    grounding = 0.0 if again else agreement(facts_of(pair.think), wanted, key.truth_for(name)).f1
    if grounding:
        grounding *= order_kept(pair.think, key.thinks.get(name, ""))
    return judgement, f"{why}; facts of its think block {grounding:.2f}", grounding
