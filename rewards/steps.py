"""Judges the steps of a response: one mark on one candidate each, held against gold, final answer and known facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .answers import read_marks
from .config import RewardConfig
from .facts import agreement, facts_of
from .key import Key
from .parser import Pair
from .verdict import Judgement, StepVerdict


@dataclass(frozen=True)
class Judged:
    """Verdicts on steps, and their process and reason in [0, 1]."""

    steps: tuple[StepVerdict, ...]
    process: float
    reason: float


def judge_steps(pairs: Sequence[Pair], read_candidate: Callable[[str], str | None], candidates: frozenset[str], key: Key,
                final: Sequence[str] | None, config: RewardConfig) -> Judged:
    """A verdict for each pair that judges one candidate with ✅ or ❌.

    A right step is worth the share of candidates judged without a fault: to pass over the doubtful ones must not pay.
    Process is sensitivity + specificity − 1 over the candidates (Youden's J), at least 0, so that one mark for all earns
    nothing; a candidate without a sound step counts as missed. Reason is process times the mean grounding of the right
    steps over all candidates of which facts are known.
    """
    seen: set[str] = set()
    steps = [_judge(pair, read_candidate, candidates, key, final, seen, config.reason > 0) for pair in pairs]
    sure = {name for name in candidates if key.verifiable(name)}
    covered = sum(step.judgement in ("right", "wrong") for step in steps) / max(1, len(sure))
    sure |= key.gold  # what was never weighed was missed
    if not key.weighs:
        return Judged(tuple(steps), 0.0, 0.0)
    share = config.reason / (config.process + config.reason) if config.reason else 0.0
    right = {step.candidate: step for step in steps if step.judgement == "right"}
    judged = tuple(_paid(step, covered, share) if step.judgement == "right" else step for step in steps)
    groups = [group for group in (sure & key.gold, sure - key.gold) if group]
    rates = [sum(name in right for name in group) / len(group) for group in groups]
    process = max(0.0, sum(rates) - (len(rates) - 1)) if rates else 0.0
    known = [name for name in sure if key.wanted_of(name)] if config.reason else []
    reason = process * sum(right[name].grounding or 0.0 for name in known if name in right) / len(known) if known else 0.0
    return Judged(judged, process, reason)


def _paid(step: StepVerdict, covered: float, share: float) -> StepVerdict:
    """A right step with its score; `share` of it is for the grounding, where any can be told."""
    grounding = 1.0 if step.grounding is None else step.grounding
    return StepVerdict(step.start, step.end, step.candidate, step.judgement, covered * (1 - share + share * grounding), step.why,
                       step.grounding)


def _judge(pair: Pair, read_candidate: Callable[[str], str | None], candidates: frozenset[str], key: Key,
           final: Sequence[str] | None, seen: set[str], ground: bool) -> StepVerdict:
    text, marks = read_marks(pair.answer)
    name = read_candidate(text) if text else None

    def verdict(judgement: Judgement, why: str, grounding: float | None = None) -> StepVerdict:
        return StepVerdict(pair.start, pair.end, name, judgement, 0.0, why, grounding)

    if name not in candidates:
        name = None
        return verdict("fault", f"{text!r:.40} is not one of the candidates")
    if name in seen:
        return verdict("fault", f"{name} was judged before")
    seen.add(name)
    if len(marks) != 1:
        return verdict("fault", f"{len(marks) or 'no'} marks on {name}; one is needed")
    if not pair.think.strip():
        return verdict("fault", f"nothing was thought about {name}")
    said, true = marks[0], name in key.gold
    if final is None:
        return verdict("fault", f"no final answer can be read that {name} {'✅' if said else '❌'} would agree with")
    if said != (name in final):
        return verdict("fault", f"{name} {'✅' if said else '❌'} contradicts the final answer")
    if not key.verifiable(name):
        return verdict("unverifiable", f"the gold does not tell whether {name} is there")
    wanted = key.wanted_of(name) if ground else None
    if not wanted:
        return verdict("right" if said == true else "wrong", f"{name} is {'' if true else 'not '}in the gold")
    grounding = agreement(facts_of(pair.think), wanted, key.truth).f1
    return verdict("right" if said == true else "wrong",
                   f"{name} is {'' if true else 'not '}in the gold; facts of its think block {grounding:.2f}", grounding)
