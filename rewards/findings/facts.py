"""Facts: which findings a text asserts or denies, and how well they agree with what is known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from rewards.findings.extract import mentions_of
from rewards.findings.ontology import load_ontology

MAX_CHARACTERS = 20_000  # characters; ten times a long report


class Facts(NamedTuple):
    """The findings that a text asserts and denies, by canonical name.

    What a text leaves open is no fact. A finding that it both asserts and denies is in both sets and agrees with
    nothing.

    Attributes:
        present: the asserted findings.
        absent: the denied findings.
        kinds: the asserted findings and everything that they are kinds of.
    """

    present: frozenset[str]
    absent: frozenset[str]
    kinds: frozenset[str]

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

    def __bool__(self) -> bool:
        return bool(self.present or self.absent)


def facts_of(text: str) -> Facts:
    """The facts of the first `MAX_CHARACTERS` characters of a text. Never raises."""
    present, absent = set(), set()
    for mention in mentions_of(text[:MAX_CHARACTERS]):
        if mention.status == "present":
            present.add(mention.finding)
        elif mention.status == "absent":
            absent.add(mention.finding)
    return Facts.of(frozenset(present), frozenset(absent))


class Agreement(NamedTuple):
    """Facts compared with others: how many agree, how many contradict, and how many expected ones are missing."""

    agree: int
    contradict: int
    missing: int

    @property
    def precision(self) -> float:
        """The share of true facts among those whose truth is known; 0 if there are none."""
        return self.agree / (self.agree + self.contradict) if self.agree else 0.0

    @property
    def f1(self) -> float:
        """1 if everything expected is stated and nothing false; 0 if nothing agrees, as in a negated copy."""
        return 2 * self.agree / (2 * self.agree + self.contradict + self.missing) if self.agree else 0.0


def agreement(stated: Facts, expected: Facts, truth: Mapping[str, bool]) -> Agreement:
    """Compares the stated facts with the expected ones and with what else is known.

    Facts that are neither expected nor known count for nothing, so more words earn no more. A finding that is both
    asserted and denied agrees with nothing and contradicts nothing.

    Args:
        truth: finding to whether it is present.
    """
    agree = contradict = 0
    for finding in expected.present:
        agree += stated.says(finding) is True
    for finding in expected.absent:
        agree += stated.says(finding) is False
    for finding in stated.present | stated.absent:
        is_present = expected.says(finding)
        if is_present is None:
            is_present = truth.get(finding)
        if is_present is not None and stated.says(finding) is (not is_present):
            contradict += 1
    return Agreement(agree, contradict, len(expected.present) + len(expected.absent) - agree)


@lru_cache(maxsize=256)  # the reference of a group is read once, not once for each response
def known_facts(text: str) -> Facts:
    """`facts_of` for a text that many responses are compared with."""
    return facts_of(text)
