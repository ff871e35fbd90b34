"""The answer key of a task: everything that is known about the right answer before a response is read.

It is made of the gold and, if the task has one, of the reference: a gold trace in steps, or a report.

A worked example. The reference below judges two of the three options, and its first think block is wrong about edema:

>>> from curriculum.task import Task
>>> from rewards.forms.letters import key_of
>>> task = Task(
...     id="t", domain="closed", family="single_choice", question="Which finding?", images=("film.png",),
...     options={"A": "Mass", "B": "Edema", "C": "Hernia"}, gold=("B",),
...     reference="<think>No mass. No edema.</think><answer>A ❌</answer>"
...               "<think>Pulmonary edema, and no nodule.</think><answer>B ✅</answer>"
...               "<think>It is B.</think><answer>B</answer>",
... )
>>> key = key_of(task)

A step may judge any option. A response must judge those that the reference judges:

>>> sorted(key.candidates), sorted(key.required)
(['A', 'B', 'C'], ['A', 'B'])

The gold says of each option's finding whether it is present, and no think block may contradict that:

>>> key.truth
{'Mass': False, 'Edema': True, 'Hernia': False}

A think block should state what the reference states on the same candidate. "No edema" contradicts the gold, so it is
not expected on A; and since the reference got it wrong, a response that says it there is not punished for it:

>>> sorted(key.expected_of("A").absent), sorted(key.expected_of("B").present), sorted(key.expected_of("B").absent)
(['Mass'], ['Edema'], ['Nodule'])
>>> key.truth_for("A"), key.truth_for("B") == key.truth
({'Mass': False, 'Hernia': False}, True)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from curriculum.task import NO_FINDING
from rewards.comparison.attributes import Attributes, attributes_of, attributes_of_names, contradicted
from rewards.comparison.facts import Facts, known_facts
from rewards.findings.ontology import load_ontology
from rewards.findings.signs import Hint
from rewards.reading.answers import read_marks
from rewards.reading.parser import Pair, parse

NO_FACTS = Facts(frozenset(), frozenset(), frozenset())


@dataclass(frozen=True, eq=False)
class AnswerKey:
    """What the responses to a task with letters or names are judged by. A candidate is an option letter or a name.

    Attributes:
        gold: the right letters, or the canonical names of the right findings.
        truth: finding to whether it is present, as far as the gold, the options and a report tell.
        candidates: what a step may judge: all letters, or the names that the reference judges.
        required: the candidates that a response must judge: those that the reference judges, all without a trace.
        expected: candidate to the facts that a think block on it should state.
        undecided: names that the gold neither confirms nor rules out: what a gold finding is a kind of, and its kinds.
        lenient_truth: candidate to `truth` without what the reference's think block on it gets wrong. Only the
            candidates with such an error are in it.
        reference_thinks: candidate to the reference's think block on it.
        attributes: finding to the side, severity and place that gold or report give it. A name that the reference
            itself gives another one is not in it.
        asks_for_steps: False if the reference is a trace that judges no candidate.
        asks_for_facts: False if the reference is a trace whose think blocks state no expected fact.
    """

    gold: frozenset[str]
    truth: Mapping[str, bool]
    candidates: frozenset[str]
    required: frozenset[str]
    expected: Mapping[str, Facts] = field(default_factory=dict)
    undecided: frozenset[str] = frozenset()
    lenient_truth: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    reference_thinks: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Attributes] = field(default_factory=dict)
    asks_for_steps: bool = True
    asks_for_facts: bool = True

    def expected_of(self, candidate: str) -> Facts:
        """The facts that a think block on the candidate should state. If there are none, it has no grounding."""
        if not self.asks_for_facts:
            return NO_FACTS
        if candidate in self.expected:
            return self.expected[candidate]
        return facts_of_label(candidate, candidate in self.gold)

    def truth_for(self, candidate: str) -> Mapping[str, bool]:
        """What a think block on the candidate must not contradict."""
        return self.lenient_truth.get(candidate, self.truth)

    def is_right(self, candidate: str) -> bool:
        return candidate in self.gold or (candidate == NO_FINDING and not self.gold)

    def is_verifiable(self, candidate: str) -> bool:
        """Whether the gold decides if a candidate is right. A name outside the ontology isn't wrong by its absence."""
        return (
            candidate in self.gold
            or candidate in self.candidates
            or candidate == NO_FINDING
            or (candidate in load_ontology().findings and candidate not in self.undecided)
        )


def facts_of_label(name: str | None, is_present: bool) -> Facts:
    """That one finding is present or absent; no facts for a name that the ontology doesn't have."""
    if name is None or name not in load_ontology().findings:
        return NO_FACTS
    if is_present:
        return Facts.of(frozenset([name]), frozenset())
    return Facts.of(frozenset(), frozenset([name]))


def repeats(step: Pair, summary: Pair) -> bool:
    """Whether a step is the summary once more, word for word. Its think block is not compared with facts."""
    return step.think.strip() == summary.think.strip() and step.answer.strip() == summary.answer.strip()


def with_reference(key: AnswerKey, reference: str | None, read_candidate: Callable[[str], str | None]) -> AnswerKey:
    """The key of the gold, completed by what the reference adds.

    Args:
        read_candidate: the candidate that an answer without its mark names, None if it names none.
    """
    if not reference:
        return key
    pairs = parse(reference).pairs
    if pairs:
        return _with_trace(key, pairs[:-1], pairs[-1], read_candidate)
    return _with_report(key, reference)


def _with_report(key: AnswerKey, report: str) -> AnswerKey:
    """A report says more about the film than the gold does; where they differ, the gold counts."""
    facts = known_facts(report)
    reported = dict.fromkeys(facts.kinds, True) | dict.fromkeys(facts.absent, False)
    attributes = attributes_of(facts.mentions) | dict(key.attributes)
    return replace(key, truth=reported | dict(key.truth), attributes=attributes)


def _with_trace(
    key: AnswerKey, steps: tuple[Pair, ...], summary: Pair, read_candidate: Callable[[str], str | None]
) -> AnswerKey:
    """A trace says which candidates are worth judging, and what to think about each."""
    step_of = _steps_by_candidate(steps, read_candidate)
    candidates = key.candidates or frozenset(step_of)
    truth = {name: key.is_right(name) for name in step_of if name not in key.candidates} | dict(key.truth)
    expected = {name: NO_FACTS for name in key.candidates if name not in step_of}
    lenient_truth = {}
    misplaced: set[str] = set()
    for name, step in step_of.items():
        if key.attributes:
            misplaced |= contradicted(attributes_of_names([read_marks(step.answer)[0]]), key.attributes)
        facts = NO_FACTS if repeats(step, summary) else known_facts(step.think)
        expected[name] = _without_errors(facts, truth)
        errors = _errors(facts, truth)
        if errors:
            lenient_truth[name] = {finding: value for finding, value in truth.items() if finding not in errors}
    return replace(
        key,
        truth=truth,
        candidates=candidates,
        required=frozenset(step_of),
        expected=expected,
        lenient_truth=lenient_truth,
        attributes={name: value for name, value in key.attributes.items() if name not in misplaced},
        reference_thinks={name: step.think for name, step in step_of.items()},
        asks_for_steps=bool(step_of),
        asks_for_facts=any(expected.values()),
    )


def _steps_by_candidate(steps: tuple[Pair, ...], read_candidate: Callable[[str], str | None]) -> dict[str, Pair]:
    """Candidate to the first step of a trace that judges it with a mark."""
    step_of: dict[str, Pair] = {}
    for step in steps:
        text, marks = read_marks(step.answer)
        name = read_candidate(text) if marks else None
        if name is not None:
            step_of.setdefault(name, step)
    return step_of


def _errors(facts: Facts, truth: Mapping[str, bool]) -> set[str]:
    """The findings on which the facts say the opposite of the truth."""
    stated = truth.keys() & (facts.present | facts.absent)
    errors = {finding for finding in stated if facts.says(finding) is (not truth[finding])}
    for hint in facts.hints:
        if all(truth.get(finding) is (not hint.is_present) for finding in hint.findings):
            errors.update(hint.findings)
    return errors


def _without_errors(facts: Facts, truth: Mapping[str, bool]) -> Facts:
    """What is stated clearly and doesn't contradict the truth: the gold outranks the reference.

    What signs say is weaker, so it is expected only of findings of which the truth says the same.
    """
    present = (name for name in facts.present if facts.says(name) and truth.get(name) is not False)
    absent = (name for name in facts.absent if facts.says(name) is False and truth.get(name) is not True)
    expected = Facts.of(frozenset(present), frozenset(absent))
    return expected._replace(hints=_confirmed(facts.hints, truth), mentions=facts.mentions)


def _confirmed(hints: Sequence[Hint], truth: Mapping[str, bool]) -> tuple[Hint, ...]:
    """One hint for each finding that signs agree on with the truth, by the surest sign."""
    weights: dict[tuple[str, bool], float] = {}
    for hint in hints:
        for finding in hint.findings:
            if truth.get(finding) is hint.is_present:
                said = finding, hint.is_present
                weights[said] = max(weights.get(said, 0.0), hint.weight)
    return tuple(Hint((finding,), is_present, weight) for (finding, is_present), weight in weights.items())
