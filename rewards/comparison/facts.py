"""Facts: which findings a text asserts or denies, and how well they agree with what is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from rewards.comparison.attributes import UNKNOWN, Attribute, Attributes, attributes_of, denied_elsewhere, likeness
from rewards.findings.extract import mentions_of
from rewards.findings.ontology import load_ontology
from rewards.findings.sentence_reader import Mention
from rewards.findings.signs import Hint, SeenSign, hints_of, is_sign, load_signs

MAX_CHARACTERS = 20_000  # characters; ten times a long report


class Facts(NamedTuple):
    """The findings that a text asserts and denies, by canonical name.

    What a text leaves open is no fact. A finding that it both asserts and denies is in both sets and agrees with
    nothing.

    Attributes:
        present: the asserted findings.
        absent: the denied findings.
        kinds: the asserted findings and everything that they are kinds of.
        hints: what the signs in the text say about findings that it doesn't name.
        mentions: the findings as the text mentions them, if it gives the side, severity or place of any.
    """

    present: frozenset[str]
    absent: frozenset[str]
    kinds: frozenset[str]
    hints: tuple[Hint, ...] = ()
    mentions: tuple[Mention, ...] = ()

    @staticmethod
    @lru_cache(maxsize=4096)  # texts say the same few things over and over
    def of(present: frozenset[str], absent: frozenset[str]) -> Facts:
        findings = load_ontology().findings
        kinds: set[str] = set()
        for name in present:
            if name in findings:
                kinds.update(findings[name].ancestors)
        return Facts(present, absent, frozenset(kinds))

    def says(self, finding: str) -> bool | None:
        """True if the finding or a kind of it is asserted, False if it is denied, None if neither or both."""
        asserted = finding in self.kinds or finding in self.present
        denied = finding in self.absent
        return None if asserted == denied else asserted

    def names(self, finding: str) -> bool:
        """Whether the finding or a kind of it is asserted or denied by name."""
        return finding in self.kinds or finding in self.present or finding in self.absent

    def hinted(self, finding: str, is_present: bool) -> float:
        """How surely the signs say that a finding is present, or absent: 0 to below 1."""
        weights = (hint.weight for hint in self.hints if hint.is_present == is_present and finding in hint.findings)
        return max(weights, default=0.0)

    def __bool__(self) -> bool:
        return bool(self.present or self.absent or self.hints)


def facts_of(text: str) -> Facts:
    """The facts of the first `MAX_CHARACTERS` characters of a text. Never raises."""
    return facts_from(mentions_of(text[:MAX_CHARACTERS]))


def facts_from(mentions: Iterable[Mention]) -> Facts:
    """The facts of a text with these mentions."""
    signs = load_signs().signs
    present: set[str] = set()
    absent: set[str] = set()
    is_detailed = False
    named: list[Mention] = []
    seen: list[SeenSign] = []
    for mention in mentions:
        finding, status = mention.finding, mention.status
        if status == "uncertain":
            continue
        if finding in signs:
            seen.append(SeenSign(signs[finding], status == "present", mention.side))
        if is_sign(finding):
            continue
        named.append(mention)
        is_detailed = is_detailed or bool(mention.side or mention.severity or mention.place)
        (present if status == "present" else absent).add(finding)
    facts = Facts.of(frozenset(present), frozenset(absent))
    if not seen and not is_detailed:
        return facts
    hints = tuple(_not_named(hints_of(seen), facts)) if seen else ()
    return Facts(facts.present, facts.absent, facts.kinds, hints, tuple(named) if is_detailed else ())


def _not_named(hints: Sequence[Hint], facts: Facts) -> Iterator[Hint]:
    """The hints that say more than the names do: a name outranks a sign."""
    for hint in hints:
        if hint.is_present and any(facts.says(finding) for finding in hint.findings):
            continue  # the text says itself what the sign means
        findings = tuple(finding for finding in hint.findings if not facts.names(finding))
        if findings:
            yield hint._replace(findings=findings)


class Agreement(NamedTuple):
    """Facts compared with others: how many agree, how many contradict, and how many expected ones are missing.

    A finding that is named counts 1, one that only signs speak of less.
    """

    agree: float
    contradict: float
    missing: float

    @property
    def precision(self) -> float:
        """The share of true facts among those whose truth is known; 0 if there are none."""
        return self.agree / (self.agree + self.contradict) if self.agree else 0.0

    @property
    def f1(self) -> float:
        """1 if everything expected is stated and nothing false; 0 if nothing agrees, as in a negated copy."""
        return 2 * self.agree / (2 * self.agree + self.contradict + self.missing) if self.agree else 0.0


def agreement(
    stated: Facts,
    expected: Facts,
    truth: Mapping[str, bool],
    attributes: Sequence[Attribute] = (),
    known: Mapping[str, Attributes] | None = None,
) -> Agreement:
    """Compares the stated facts with the expected ones and with what else is known.

    Facts that are neither expected nor known count for nothing, so more words earn no more. A finding that is both
    asserted and denied agrees with nothing and contradicts nothing.

    Args:
        truth: finding to whether it is present.
        attributes: what else is compared of a finding that both assert: its side, severity and place.
        known: finding to the attributes that it is known to have. A text must not contradict them, and need not state
            them.
    """
    likeness_of: dict[str, float] = {}
    if attributes:
        stated, expected = _without_other_sides(stated, attributes), _without_other_sides(expected, attributes)
        likeness_of = _likenesses(stated, expected, known or {}, attributes)
    agree = missing = contradict = 0.0  # of halves and quarters, so the sums are exact in any order
    for finding, is_present in _named(expected):
        held = stated.hinted(finding, is_present) if stated.hints else 0.0
        if stated.says(finding) is is_present:
            held = likeness_of.get(finding, 1.0) if is_present else 1.0
        agree += held
        missing += 1 - held
    for hint in expected.hints:
        for finding in hint.findings:
            held = min(hint.weight, stated.hinted(finding, hint.is_present))
            if stated.says(finding) is hint.is_present:
                held = hint.weight
            agree += held
            missing += hint.weight - held
    for finding in stated.present | stated.absent:
        truly = _known(finding, expected, truth)
        if truly is not None and stated.says(finding) is (not truly):
            contradict += 1
    contradict += sum(value == 0 for value in likeness_of.values())
    for hint in stated.hints:
        if all(_known(finding, expected, truth) is (not hint.is_present) for finding in hint.findings):
            contradict += hint.weight
    return Agreement(agree, contradict, missing)


def _without_other_sides(facts: Facts, attributes: Sequence[Attribute]) -> Facts:
    """The facts without denials of the other side: "left effusion, none on the right" asserts an effusion."""
    elsewhere = denied_elsewhere(facts.mentions) if "side" in attributes and facts.absent else set()
    if not elsewhere:
        return facts
    fewer = Facts.of(facts.present, facts.absent - elsewhere)
    return fewer._replace(hints=facts.hints, mentions=facts.mentions)


def _likenesses(
    stated: Facts, expected: Facts, known: Mapping[str, Attributes], which: Sequence[Attribute]
) -> dict[str, float]:
    """How well the attributes of the stated findings fit, below 1 only.

    What the expected facts give must be stated; what is known must not be contradicted. Where these two differ, the
    finding is not compared.
    """
    said, wanted = attributes_of(stated.mentions), attributes_of(expected.mentions)
    found = {}
    for finding in said.keys() | wanted.keys():
        own, gold = said.get(finding, UNKNOWN), known.get(finding, UNKNOWN)
        model = wanted.get(finding, UNKNOWN) if finding in expected.present else UNKNOWN
        if not stated.says(finding) or likeness(model, gold, which) == 0:
            continue
        value = 0.0 if likeness(own, gold, which) == 0 else likeness(own, model, which)
        if value < 1:
            found[finding] = value
    return found


def _named(facts: Facts) -> Iterator[tuple[str, bool]]:
    for finding in facts.present:
        yield finding, True
    for finding in facts.absent:
        yield finding, False


def _known(finding: str, expected: Facts, truth: Mapping[str, bool]) -> bool | None:
    is_present = expected.says(finding)
    return truth.get(finding) if is_present is None else is_present


@lru_cache(maxsize=256)  # the reference of a group is read once, not once for each response
def known_facts(text: str) -> Facts:
    """`facts_of` for a text that many responses are compared with."""
    return facts_of(text)
