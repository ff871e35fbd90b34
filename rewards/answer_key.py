"""The key of a task: what is known of the right answer before any response is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from curriculum.task import NO_FINDING, Task
from rewards.findings.canonical import canonical
from rewards.findings.extract import extract
from rewards.findings.facts import Facts, known_facts
from rewards.findings.ontology import load_ontology
from rewards.reading.answers import are_yes_no, read_finding, read_marks, read_option, said_by
from rewards.reading.parser import Pair, parse

NONE: frozenset[str] = frozenset()
NOTHING = Facts(NONE, NONE, NONE)


@dataclass(frozen=True, eq=False)
class Key:
    """What a closed task, or an open one that asks for names, has for judging a response.

    Attributes:
        gold: right letters, or canonical names of right findings.
        truth: finding → present, as far as gold and options tell.
        weighs: whether steps are asked for: there is no reference trace, or it judges candidates itself.
        candidates: letters, or the names that the reference weighs.
        asked: those of them that a response must judge: the ones that the reference judges, all without one.
        wanted: candidate → facts that its think block should state: those of the reference's think block on it that gold
            does not contradict. Without a reference, with a report as reference, and for a candidate that a trace does not
            weigh, that the candidate is present or not.
        lenient: candidate → truth for its think block, where that of the reference contradicts the truth: without what it
            gets wrong, so that nobody is told better than the reference.
        thinks: candidate → the reference's think block on it.
        unsure: names of which the gold tells nothing: what a gold finding is a kind of, and its kinds.
        grounded: whether think blocks are held against facts: there is no reference trace, or it states some.
    """

    gold: frozenset[str]
    truth: Mapping[str, bool]
    weighs: bool
    candidates: frozenset[str]
    asked: frozenset[str]
    wanted: Mapping[str, Facts]
    lenient: Mapping[str, Mapping[str, bool]]
    thinks: Mapping[str, str]
    unsure: frozenset[str]
    grounded: bool

    def wanted_of(self, candidate: str) -> Facts:
        """Nothing where no fact is known of it, or where the reference states none: then grounding is not asked for."""
        if not self.grounded:
            return NOTHING
        if candidate in self.wanted:
            return self.wanted[candidate]
        return _label(candidate, candidate in self.gold)

    def truth_for(self, candidate: str) -> Mapping[str, bool]:
        """What a think block on the candidate must not contradict."""
        return self.lenient.get(candidate, self.truth)

    def is_right(self, name: str) -> bool:
        return name in self.gold or (name == NO_FINDING and not self.gold)

    def verifiable(self, name: str) -> bool:
        """Whether gold tells if an open candidate is right. A word that no ontology knows proves nothing by its absence."""
        return (
            name in self.gold
            or name in self.candidates
            or name == NO_FINDING
            or (name in load_ontology().findings and name not in self.unsure)
        )


def key_of(task: Task) -> Key:
    """The key of a task of form letters or names. A group's responses share it."""
    if task.form == "letters":
        return _closed(task.question, tuple(task.options.items()), task.gold, task.reference)
    return _open(task.gold, task.reference)


@lru_cache(maxsize=256)
def _closed(question: str, options: tuple[tuple[str, str], ...], gold: tuple[str, ...], reference: str | None) -> Key:
    texts, right = dict(options), frozenset(gold)
    of_letter = {letter: canonical(text) for letter, text in options}
    if are_yes_no(texts):
        asked, (answer,) = _asked(question), gold[:1]
        of_letter = dict.fromkeys(texts, asked)
        status = dict.fromkeys(texts, texts[answer].strip().casefold() == "yes")
    else:
        status = {letter: letter in right for letter in texts}
    known = load_ontology().findings
    truth = {name: status[letter] for letter, name in of_letter.items() if name in known}

    labels = {letter: _label(name, status[letter]) for letter, name in of_letter.items()}
    letters = frozenset(texts)
    return _with_reference(
        Key(right, truth, True, letters, letters, labels, {}, {}, frozenset(), True),
        reference,
        partial(read_option, options=texts),
    )


@lru_cache(maxsize=256)
def _open(gold: tuple[str, ...], reference: str | None) -> Key:
    findings = load_ontology().findings
    names = frozenset(finding for name in gold for finding, status in said_by(name) if status == "present") - {
        NO_FINDING
    }
    kinds = {kind for name in names if name in findings for kind in findings[name].ancestors}
    children = NONE.union(*map(_kinds_of, names))
    key = Key(names, dict.fromkeys(kinds, True), True, NONE, NONE, {}, {}, {}, (children | kinds) - names, True)
    return _with_reference(key, reference, read_finding)


@lru_cache(maxsize=1024)
def _kinds_of(name: str) -> frozenset[str]:
    """The findings that are kinds of one, itself among them."""
    return frozenset(kind for kind, finding in load_ontology().findings.items() if name in finding.ancestors)


def _with_reference(key: Key, reference: str | None, read_candidate) -> Key:
    if not reference:
        return key
    pairs = parse(reference).pairs
    if not pairs:  # a report: it tells more of the film than the gold does
        facts = known_facts(reference)
        told = dict.fromkeys(facts.kinds, True) | dict.fromkeys(facts.absent, False)
        return replace(key, truth=told | dict(key.truth))
    thinks: dict[str, Pair] = {}
    for pair in pairs[:-1]:
        text, marks = read_marks(pair.answer)
        if marks and (name := read_candidate(text)) is not None:
            thinks.setdefault(name, pair)
    candidates = key.candidates or frozenset(thinks)
    truth = {name: key.is_right(name) for name in thinks if name not in key.candidates} | dict(key.truth)
    wanted, lenient = {}, {}
    for name, pair in thinks.items():
        facts = NOTHING if repeats(pair, pairs[-1]) else known_facts(pair.think)
        wanted[name] = _without_errors(facts, truth)
        if errors := {
            finding
            for finding in truth.keys() & (facts.present | facts.absent)
            if facts.says(finding) is (not truth[finding])
        }:
            lenient[name] = {finding: true for finding, true in truth.items() if finding not in errors}
    missing = {name: NOTHING for name in key.candidates if name not in thinks}
    return replace(
        key,
        truth=truth,
        weighs=bool(thinks),
        candidates=candidates,
        asked=frozenset(thinks),
        wanted=missing | wanted,
        lenient=lenient,
        thinks={name: pair.think for name, pair in thinks.items()},
        grounded=any(wanted.values()),
    )


def repeats(step: Pair, summary: Pair) -> bool:
    """Whether a step is the summary once more, word for word: its think block is not held against facts."""
    return step.think.strip() == summary.think.strip() and step.answer.strip() == summary.answer.strip()


def _without_errors(facts: Facts, truth: Mapping[str, bool]) -> Facts:
    """What is clearly said and right. Gold outranks a reference: what they contradict each other about is not asked for."""
    return Facts.of(
        frozenset(name for name in facts.present if facts.says(name) and truth.get(name) is not False),
        frozenset(name for name in facts.absent if facts.says(name) is False and truth.get(name) is not True),
    )


def _label(name: str | None, present: bool) -> Facts:
    if name not in load_ontology().findings:
        return NOTHING
    return Facts.of(frozenset([name]), frozenset()) if present else Facts.of(frozenset(), frozenset([name]))


def _asked(question: str) -> str | None:
    """The one finding that a yes-or-no question asks about."""
    names = {mention.finding for mention in extract(question).mentions} if question.rstrip().endswith("?") else set()
    return names.pop() if len(names) == 1 else None
