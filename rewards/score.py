"""Scores a response by rules: format, outcome, process, reason; and says why. `docs/rewards.md` tells the rules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from curriculum.boxes import mean_iou, read_box, read_boxes
from curriculum.task import NO_FINDING, Task
from rewards.answer_key import Key, key_of
from rewards.config import RewardConfig
from rewards.custom_rules import call_rule
from rewards.findings.facts import agreement, facts_of, known_facts
from rewards.findings.ontology import load_ontology
from rewards.findings.overlap import f1, rouge_l
from rewards.paper import score_paper
from rewards.reading.answers import (
    LONGEST,
    read_finding,
    read_findings,
    read_marks,
    read_option,
    read_options,
    split_names,
)
from rewards.reading.parser import FormatFault, Pair, parse
from rewards.steps import judge_steps
from rewards.verdict import StepVerdict, Verdict

MOST_WRONG = 2  # wrong names for each right one in a list; more is guessing
CUT_OFF = "cut off at the length limit"


class _Judged(NamedTuple):
    """What a task's judge says of the pairs, before gates: the parts in [0, 1]."""

    answer: tuple[str, ...] | None
    outcome: float
    steps: tuple[StepVerdict, ...]
    process: float
    reason: float
    why: tuple[str, ...]
    right: bool = False  # whatever the outcome: a text that has all its findings, in other words


def score(task: Task, response: str, config: RewardConfig, truncated: bool = False) -> Verdict:
    """The verdict on one response; a pure function of its arguments. Never raises for any text.

    Format is 1 where the parser finds no fault and the response was not cut off. The last pair's answer is the final answer.
    The outcome goes by the task's form. Letters: 1 where the options named are exactly the gold. Names: F1 of the sets of
    findings, 0 for a list that guesses. Text: mean of the F1 of the findings that it asserts and of ROUGE-L, less where it is
    much shorter or longer than the gold. Boxes: mean intersection over union (`boxes.mean_iou`).
    Steps, process and reason: `steps.judge_steps`; of a text that is written in steps, `_judge_text`.
    """
    if config.preset == "paper" and task.form in ("letters", "names"):
        return score_paper(task, response)
    parsed = parse(response)
    faults = (*parsed.faults, *((FormatFault(CUT_OFF, len(response)),) if truncated else ()))
    judge = {"letters": _judge_closed, "names": _judge_open, "text": _judge_text, "boxes": _judge_boxes}[task.form]
    judged = judge(task, parsed.pairs, config) if parsed.pairs else _Judged(None, 0.0, (), 0.0, 0.0, ("no answer",))
    steps, process, reason, why = judged.steps, judged.process, judged.reason, judged.why
    if faults:
        steps = tuple(step._replace(score=0.0) for step in steps)
        process = reason = 0.0
    base = config.format * (not faults) + config.outcome * judged.outcome
    if faults and "format" in config.gates:
        base, why = 0.0, (*why, f"format: {faults[0]}; the response earns nothing")
    paid = config.process * process + config.reason * reason
    if "outcome" in config.gates and judged.outcome < 1 and not judged.right:
        why = (*why, "process and reason are paid to a right answer only") if paid else why
        paid = 0.0
    verdict = Verdict(
        total=base + paid,
        base=base,
        format=float(not faults),
        outcome=judged.outcome,
        process=process,
        reason=reason,
        answer=judged.answer,
        steps=steps,
        faults=faults,
        why=why,
    )
    return _with_own_rules(verdict, task, response, config) if config.own else verdict


def _with_own_rules(verdict: Verdict, task: Task, response: str, config: RewardConfig) -> Verdict:
    """Adds the recipe's own rules, each a part of the base. A malformed response earns nothing by them either."""
    total, more, why = 0.0, [], list(verdict.why)
    for name, own in config.own.items():
        value, fault = call_rule(own, task, response, verdict)
        more.append((name, value))
        total += own.weight * value
        why += [f"{name}: {fault}"] if fault else []
    if verdict.faults and "format" in config.gates:
        total = 0.0
    return verdict._replace(total=verdict.total + total, base=verdict.base + total, more=tuple(more), why=tuple(why))


def _judge_closed(task: Task, pairs: Sequence[Pair], config: RewardConfig) -> _Judged:
    last, key = pairs[-1], key_of(task)
    text, marks = read_marks(last.answer)
    final = read_options(text, task.options) if all(marks) else None  # "B ❌" is no answer
    outcome = float(final is not None and key.gold == set(final))

    accepted = final[0] if final and len(final) == len(marks) == 1 else None
    candidate = partial(read_option, options=task.options)
    judged = judge_steps(pairs, candidate, key.candidates, key.asked, key, final, config, accepted)
    why = f"final answer {_words(final)}, gold {_words(task.gold)}"
    return _Judged(final, outcome, (*judged.steps, _summary(last, outcome, why)), judged.process, judged.reason, (why,))


def _judge_open(task: Task, pairs: Sequence[Pair], config: RewardConfig) -> _Judged:
    key = key_of(task)
    most = max(config.max_candidates, len(key.gold) + 1)
    final = read_findings(pairs[-1].answer) if len(pairs[-1].answer) <= LONGEST else None
    outcome, guessed = 0.0, ""
    if final is not None:
        hits = len(key.gold.intersection(final))
        guesses = len(final) > most or len(final) - hits > MOST_WRONG * max(1, hits)
        outcome = 0.0 if guesses else f1(set(final), key.gold, config.finding_weights)
        guessed = "; a list that guesses" if guesses else ""
    why = f"final answer {_words(final)}, gold {_words(task.gold) if task.gold else NO_FINDING}: F1 {outcome:.2f}{guessed}"
    summary = _summary(pairs[-1], outcome, why)
    if len(pairs) < 3:
        return _Judged(final, outcome, (summary,), 0.0, 0.0, (why, "no candidate was weighed"))
    listing, candidates = _listing(pairs[0], key, max(most, len(key.candidates)))
    judged = judge_steps(pairs[1:], read_finding, candidates, candidates | key.gold, key, final, config)
    sound = listing.judgement != "fault"
    return _Judged(
        final, outcome, (listing, *judged.steps, summary), judged.process * sound, judged.reason * sound, (why,)
    )


def _listing(pair: Pair, key: Key, most: int) -> tuple[StepVerdict, frozenset[str]]:
    """The verdict on the opening list of an open response, and the candidates that it announces."""
    names, marks = read_marks(pair.answer[:LONGEST])
    announced = [read_finding(name) for name in split_names(names)]
    candidates = frozenset(announced)
    found = len(key.gold & candidates)
    if marks:
        judgement, share, why = "fault", 0.0, "candidates are announced without marks, before they are weighed"
    elif len(announced) > most or len(candidates) < len(announced):
        judgement, share = "fault", 0.0
        why = f"{len(announced)} candidates, at most {most} different ones may be announced"
    else:
        share = found / len(key.gold) if key.gold else 1.0
        judgement, why = "right" if share == 1 else "wrong", f"{found} of {len(key.gold)} gold findings are announced"
    return StepVerdict(pair.start, pair.end, None, judgement, share, why), candidates


def _judge_text(task: Task, pairs: Sequence[Pair], config: RewardConfig) -> _Judged:
    """Steps before the text are held against it, as ChestX-Reasoner holds them against the report (arXiv 2504.20930).

    Process is the mean of factuality (share of the stated facts that the gold text states), completeness (share of its
    facts that some step states) and effectiveness (share of steps that add a true fact).
    """
    final, gold = pairs[-1].answer.strip(), task.gold[0]
    found, true = facts_of(final), known_facts(gold)
    clinical = f1(_nih(found.kinds), _nih(true.kinds), config.finding_weights)
    length = _length_factor(len(final.split()), len(gold.split()), config.length)
    wording = rouge_l(final, gold) if length else 0.0
    outcome = (clinical + wording) / 2 * length
    why = (
        f"asserted {_words(sorted(_nih(found.kinds)))}, gold {_words(sorted(_nih(true.kinds)))}: F1 {clinical:.2f}; "
        f"ROUGE-L {wording:.2f}" + (f"; {length:.2f} of it for its length" if length < 1 else "")
    )
    summary = _summary(pairs[-1], outcome, why)
    thinks_of_reference = parse(task.reference).pairs if task.reference else ()
    if len(pairs) == 1 or len(thinks_of_reference) == 1 or not true:
        return _Judged((final,), outcome, (summary,), 0.0, 0.0, (why,))
    steps, stated, agree, contradict = [], set(), 0, 0
    for pair in pairs[:-1]:
        facts = facts_of(pair.think)
        held = agreement(facts, true, {})
        new = {f for f in facts.present | facts.absent if true.says(f) is facts.says(f) is not None} - stated
        stated |= new
        agree, contradict = agree + held.agree, contradict + held.contradict
        judgement = "wrong" if held.contradict else "right" if new else "unverifiable"
        steps.append(
            StepVerdict(
                pair.start,
                pair.end,
                None,
                judgement,
                held.precision if new else 0.0,
                f"{held.agree} facts of the report, {held.contradict} against it, {len(new)} new",
            )
        )
    wanted = true.present | true.absent
    parts = (
        agree / (agree + contradict) if agree else 0.0,
        len(stated & wanted) / len(wanted),
        sum(step.score > 0 for step in steps) / len(steps),
    )
    told = "factuality {:.2f}, completeness {:.2f}, effectiveness {:.2f}".format(*parts)
    return _Judged((final,), outcome, (*steps, summary), sum(parts) / 3, 0.0, (why, told), right=clinical == 1)


def _judge_boxes(task: Task, pairs: Sequence[Pair], config: RewardConfig) -> _Judged:
    found, gold = read_boxes(pairs[-1].answer[:LONGEST]), [read_box(text) for text in task.gold]
    outcome = mean_iou(found, gold)
    why = f"{len(found)} boxes, gold {len(gold)}: mean IoU {outcome:.2f}"
    return _Judged(
        tuple(str(list(box)) for box in found), outcome, (_summary(pairs[-1], outcome, why),), 0.0, 0.0, (why,)
    )


def _nih(names: frozenset[str]) -> set[str]:
    findings = load_ontology().findings
    return {findings[name].nih for name in names if name in findings and findings[name].nih}


def _length_factor(words: int, gold: int, limits: tuple[float, float]) -> float:
    """1 between the limits of the ratio of words, falling to 0 at none and at twice the upper limit."""
    ratio = words / max(1, gold)
    return min(1.0, ratio / limits[0], max(0.0, 2 - ratio / limits[1]))


def _summary(pair: Pair, outcome: float, why: str) -> StepVerdict:
    return StepVerdict(pair.start, pair.end, None, "right" if outcome == 1 else "wrong", outcome, why)


def _words(names: Sequence[str] | None) -> str:
    return "unreadable" if names is None else ", ".join(names) or NO_FINDING
