"""A text, such as a section of a report: worth the findings that it asserts and its wording."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import NamedTuple

from curriculum.task import Task
from rewards.comparison.attributes import Attributes, attributes_of, differences, likenesses
from rewards.comparison.facts import Facts, agreement, facts_of, known_facts
from rewards.comparison.overlap import f1, rouge_l
from rewards.config import RewardConfig
from rewards.findings.ontology import load_ontology
from rewards.forms.base import AnswerForm, JudgedAnswer, final_verdict, in_words
from rewards.reading.parser import Pair, parse
from rewards.verdict import Judgement, StepVerdict


def judge(task: Task, pairs: Sequence[Pair], config: RewardConfig) -> JudgedAnswer:
    """Compares the final text with the gold, and the steps before it with the facts of the gold.

    The steps are judged as ChestX-Reasoner judges them against the report (arXiv 2504.20930). Process is the mean of
    factuality (the share of the stated facts that agree with the gold text), completeness (the share of its facts that
    some step states) and effectiveness (the share of the steps that add a true fact). A reference with a single pair
    asks for no steps.
    """
    final, gold = pairs[-1].answer.strip(), task.gold[0]
    true_facts = known_facts(gold)._replace(hints=())  # a report is known by what it names
    compared = _compare(final, gold, true_facts, config)
    summary = final_verdict(pairs[-1], compared.outcome, compared.why)
    reference = parse(task.reference).pairs if task.reference else ()
    if len(pairs) == 1 or len(reference) == 1 or not true_facts:
        return JudgedAnswer((final,), compared.outcome, (summary,), why=(compared.why,))
    steps, process, why = _judge_steps(pairs[:-1], true_facts, config)
    return JudgedAnswer(
        answer=(final,),
        outcome=compared.outcome,
        steps=(*steps, summary),
        process=process,
        why=(compared.why, why),
        is_right=compared.clinical_f1 == 1,
    )


FORM = AnswerForm(judge)


class _Compared(NamedTuple):
    outcome: float
    clinical_f1: float
    why: str


def _compare(final: str, gold: str, true_facts: Facts, config: RewardConfig) -> _Compared:
    """Mean of the F1 of the NIH findings and of ROUGE-L, times the factor for the length."""
    stated = facts_of(final)
    asserted, true = _nih_names(stated.kinds), _nih_names(true_facts.kinds)
    likeness_of: dict[str, float] = {}
    told = ""
    if config.attributes:
        said, known = _nih_attributes(stated), _nih_attributes(true_facts)
        likeness_of = likenesses(said, known, asserted & true, config.attributes)
        told = differences(said, known, asserted & true, config.attributes)
    clinical_f1 = f1(asserted, true, config.finding_weights, likeness_of)
    factor = _length_factor(len(final.split()), len(gold.split()), config.length)
    wording = rouge_l(final, gold) if factor else 0.0
    why = (
        f"asserted {in_words(sorted(asserted))}, gold {in_words(sorted(true))}: F1 {clinical_f1:.2f}; "
        f"ROUGE-L {wording:.2f}"
    )
    if told:
        why += f"; {told}"
    if factor < 1:
        why += f"; times {factor:.2f} for its length"
    return _Compared((clinical_f1 + wording) / 2 * factor, clinical_f1, why)


def _judge_steps(
    pairs: Sequence[Pair], true_facts: Facts, config: RewardConfig
) -> tuple[list[StepVerdict], float, str]:
    """The verdict on each step, the process, and the process in words."""
    steps: list[StepVerdict] = []
    stated: set[str] = set()
    agree = contradict = 0.0
    for pair in pairs:
        facts = facts_of(pair.think)
        held = agreement(facts, true_facts, {}, config.attributes)
        new = _shared(facts, true_facts) - stated
        stated |= new
        agree += held.agree
        contradict += held.contradict
        judgement: Judgement = "right" if new else "unverifiable"
        if held.contradict:
            judgement = "wrong"
        score = held.precision if new else 0.0
        why = f"{held.agree:g} facts agree with the report, {held.contradict:g} contradict it, {len(new)} new"
        steps.append(StepVerdict(pair.start, pair.end, None, judgement, score, why))
    all_true = true_facts.present | true_facts.absent
    factuality = agree / (agree + contradict) if agree else 0.0
    completeness = len(stated & all_true) / len(all_true)
    effectiveness = sum(step.score > 0 for step in steps) / len(steps)
    why = f"factuality {factuality:.2f}, completeness {completeness:.2f}, effectiveness {effectiveness:.2f}"
    return steps, (factuality + completeness + effectiveness) / 3, why


def _shared(facts: Facts, true_facts: Facts) -> set[str]:
    """The findings on which both say the same, the first by name or by a sign."""
    shared = set()
    for finding in facts.present | facts.absent:
        status = facts.says(finding)
        if status is not None and true_facts.says(finding) is status:
            shared.add(finding)
    for hint in facts.hints:
        shared.update(finding for finding in hint.findings if true_facts.says(finding) is hint.is_present)
    return shared


def _nih_names(names: Set[str]) -> set[str]:
    findings = load_ontology().findings
    labels = (findings[name].nih for name in names if name in findings)
    return {label for label in labels if label}


def _nih_attributes(facts: Facts) -> dict[str, Attributes]:
    findings = load_ontology().findings
    found: dict[str, Attributes] = {}
    for name, value in attributes_of(facts.mentions).items():
        label = findings[name].nih if name in findings else None
        if label:
            found[label] = value
    return found


def _length_factor(words: int, gold_words: int, limits: tuple[float, float]) -> float:
    """1 if the ratio of the lengths is within the limits, falling to 0 at no words and at twice the upper limit."""
    ratio = words / max(1, gold_words)
    return min(1.0, ratio / limits[0], max(0.0, 2 - ratio / limits[1]))
