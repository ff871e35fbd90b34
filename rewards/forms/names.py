"""Names of findings in answer to an open question: worth the F1 of the two sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from curriculum.task import NO_FINDING, Task
from rewards.answer_key import AnswerKey, with_reference
from rewards.comparison.attributes import Attributes, attributes_of_names, differences, likenesses
from rewards.comparison.overlap import f1
from rewards.config import RewardConfig
from rewards.findings.canonical import canonical
from rewards.findings.ontology import load_ontology
from rewards.forms.base import AnswerForm, JudgedAnswer, ReadGold, WrittenGold, final_in_words, final_verdict
from rewards.paper import score_names
from rewards.reading.answers import (
    MAX_CHARACTERS,
    read_finding,
    read_list_of_findings,
    read_marks,
    split_names,
    statuses_in,
)
from rewards.reading.parser import Pair
from rewards.reading.reading import Reading
from rewards.steps import Candidates, judge_steps
from rewards.verdict import Judgement, StepVerdict

MAX_WRONG_PER_HIT = 2
"""Wrong names for each right one in a list; a list with more is a guess."""
OutcomeOf = Callable[[tuple[str, ...]], tuple[float, bool]]
"""What a final list is worth, and whether it guesses."""


def judge(task: Task, pairs: Sequence[Pair], config: RewardConfig) -> JudgedAnswer:
    """The first pair lists candidates, those after it judge one each, and the last lists the findings."""
    key = key_of(task)
    max_names = max(config.max_candidates, len(key.gold) + 1)
    last = pairs[-1]
    reading = read_final(task, last.answer)
    final = None if reading.value is None else as_gold_names(reading.value, key)
    said = attributes_of_names(split_names(last.answer)) if final and config.attributes and key.attributes else {}
    outcome_of = partial(_outcome, said=said, key=key, max_names=max_names, config=config)
    outcome, is_guess = outcome_of(final)
    gold = ", ".join(task.gold) or NO_FINDING
    why = f"final answer {final_in_words(reading)}, gold {gold}: F1 {outcome:.2f}"
    told = differences(said, key.attributes, key.gold.intersection(final or ()), config.attributes)
    if told:
        why += f"; {told}"
    if is_guess:
        why += "; a list that guesses"
    summary = final_verdict(last, outcome, why)
    if len(pairs) < 3:
        return JudgedAnswer(
            final, outcome, (summary,), why=(why, "no candidate was weighed"), unread=reading.unread or ""
        )

    opening = _judge_list(pairs[0], key, max(max_names, len(key.candidates)))
    candidates = Candidates(read_finding, opening.candidates, opening.candidates | key.gold)
    judged = judge_steps(pairs[1:], candidates, key, final, config)
    is_sound = opening.verdict.judgement != "fault"
    steps = judged.steps
    if final is not None:
        steps = tuple(_with_stake(step, final, outcome, key, outcome_of) for step in steps)
    return JudgedAnswer(
        answer=final,
        outcome=outcome,
        steps=(opening.verdict, *steps, summary),
        process=judged.process * is_sound,
        reason=judged.reason * is_sound,
        why=(why,),
        unread=reading.unread or "",
    )


def read_final(task: Task, answer: str) -> Reading:
    """The findings that a final answer lists, before they are compared with the gold.

    Golds of questions such as "Where is it?" are names of places, which in a list of findings are no names.
    """
    gold = key_of(task).gold
    is_of_places = len(answer) <= MAX_CHARACTERS and not gold <= load_ontology().findings.keys()
    if is_of_places and gold == {canonical(name) for name in split_names(answer)}:
        return Reading(tuple(sorted(gold)), "the names of the gold")
    return read_list_of_findings(answer)


def as_gold_names(names: Sequence[str], key: AnswerKey) -> tuple[str, ...]:
    """The names, each that is the gold's with a place before it as the gold has it: "Rib Fracture" for "Fracture"."""
    named = {_as_gold_name(name, key) for name in names}
    return tuple(sorted(named - _implied(named, key)))


def _implied(named: set[str], key: AnswerKey) -> set[str]:
    """The names beyond the gold that a right name is a kind of: with "Pneumonia", "Lung Opacity" says nothing more."""
    findings = load_ontology().findings
    kinds = {kind for name in named & key.gold if name in findings for kind in findings[name].ancestors}
    return named & kinds - key.gold


def _as_gold_name(name: str, key: AnswerKey) -> str:
    if name in key.gold or name not in load_ontology().findings:
        return name
    kinds = load_ontology().findings[name].ancestors
    return next((kind for kind in kinds if kind in key.gold and name.endswith(f" {kind}")), name)


def _outcome(
    final: tuple[str, ...] | None,
    said: Mapping[str, Attributes],
    key: AnswerKey,
    max_names: int,
    config: RewardConfig,
) -> tuple[float, bool]:
    """F1 of the names, and whether the list guesses: then it is 0. `said` are the attributes that the answer gives."""
    if final is None:
        return 0.0, False
    hits = len(key.gold.intersection(final))
    if len(final) > max_names or len(final) - hits > MAX_WRONG_PER_HIT * max(1, hits):
        return 0.0, True
    hit = key.gold.intersection(final)
    likeness_of = likenesses(said, key.attributes, hit, config.attributes)
    return f1(set(final), key.gold, config.finding_weights, likeness_of), False


def _with_stake(
    step: StepVerdict, final: tuple[str, ...], outcome: float, key: AnswerKey, outcome_of: OutcomeOf
) -> StepVerdict:
    """The step with its stake: how far the outcome is from that of the final answer with the other mark on its name.

    More marks are right if all that is doubtful is rejected; but the F1 loses more by a finding that is missed than by
    a name too many. The stake brings the marks into the proportions of the F1. A fault without a score keeps the whole
    stake, and so does "No finding", which no single name takes back.
    """
    is_worthless = step.judgement == "fault" and not step.score
    if step.candidate is None or step.candidate == NO_FINDING or is_worthless:
        return step
    name = _as_gold_name(step.candidate, key)
    others = tuple(other for other in final if other != name)
    changed = others if name in final else as_gold_names((*final, name), key)
    return step._replace(stake=abs(outcome - outcome_of(changed)[0]))


class _Opening(NamedTuple):
    """The opening list of a response: its verdict, and the candidates that it announces."""

    verdict: StepVerdict
    candidates: frozenset[str]


def _judge_list(pair: Pair, key: AnswerKey, max_names: int) -> _Opening:
    names, marks = read_marks(pair.answer[:MAX_CHARACTERS])
    announced = [read_finding(name) for name in split_names(names)]
    candidates = frozenset(announced)

    def verdict(judgement: Judgement, share: float, why: str) -> _Opening:
        # What a sound list leads to is the outcome, which credit gives to its tokens anyway.
        stake = float(judgement == "fault")
        return _Opening(StepVerdict(pair.start, pair.end, None, judgement, share, why, stake=stake), candidates)

    if marks:
        return verdict("fault", 0.0, "candidates are announced without marks, before they are weighed")
    if len(announced) > max_names or len(candidates) < len(announced):
        return verdict("fault", 0.0, f"{len(announced)} candidates; at most {max_names} different ones are allowed")
    hits = len(key.gold & candidates)
    share = hits / len(key.gold) if key.gold else 1.0
    why = f"{hits} of {len(key.gold)} gold findings are announced"
    return verdict("right" if share == 1 else "wrong", share, why)


def key_of(task: Task) -> AnswerKey:
    """The answer key of an open task that asks for names. The responses of a group share it."""
    return _key(task.gold, task.reference)


NONE: frozenset[str] = frozenset()


@lru_cache(maxsize=256)
def _key(gold: tuple[str, ...], reference: str | None) -> AnswerKey:
    findings = load_ontology().findings
    asserted = (finding for name in gold for finding, status in statuses_in(name) if status == "present")
    names = frozenset(asserted) - {NO_FINDING}
    ancestors = {kind for name in names if name in findings for kind in findings[name].ancestors}
    descendants = NONE.union(*map(_kinds_of, names))
    key = AnswerKey(
        gold=names,
        truth=dict.fromkeys(ancestors, True),
        candidates=NONE,
        required=NONE,
        undecided=(descendants | ancestors) - names,
        attributes=attributes_of_names(gold),
    )
    return with_reference(key, reference, read_finding)


@lru_cache(maxsize=1024)
def _kinds_of(name: str) -> frozenset[str]:
    """The findings that are kinds of one, itself among them."""
    return frozenset(kind for kind, finding in load_ontology().findings.items() if name in finding.ancestors)


def read_gold(written: WrittenGold) -> ReadGold:
    """Reads a list of names. One string may hold several; a name for a healthy film means no names."""
    names = written.texts
    if written.is_one_string:
        names = [name for text in written.texts for name in split_names(text)]
    is_healthy = [canonical(name) == NO_FINDING for name in names]
    if any(is_healthy) and not all(is_healthy):
        raise ValueError(f"gold {names} names a finding and {NO_FINDING}")
    return ReadGold([] if any(is_healthy) else names, written.options, published=tuple(names))


FORM = AnswerForm(judge, read_gold, score_as_published=score_names, read=read_final)
