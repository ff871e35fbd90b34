"""Facts: which findings a text asserts or denies, and how far that agrees with what is known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from rewards.findings.extract import mentions_of
from rewards.findings.ontology import load_ontology

MAX_CHARACTERS = 20_000  # characters; ten times a long report


class Facts(NamedTuple):
    """Findings that a text asserts and denies, each by canonical name, and `kinds`: what the asserted ones are kinds of.

    What a text leaves open is no fact. What it both asserts and denies stands in both sets, and agrees with nothing.
    """

    present: frozenset[str]
    absent: frozenset[str]
    kinds: frozenset[str]

    @staticmethod
    @lru_cache(maxsize=4096)  # texts say the same few things over and over
    def of(present: frozenset[str], absent: frozenset[str]) -> "Facts":
        findings = load_ontology().findings
        kinds = frozenset(kind for name in present if name in findings for kind in findings[name].ancestors)
        return Facts(present, absent, kinds)

    def says(self, finding: str) -> bool | None:
        """Whether the finding is asserted (it or a kind of it) or denied; None where neither or both is said."""
        asserted, denied = finding in self.kinds or finding in self.present, finding in self.absent
        return None if asserted == denied else asserted

    def __bool__(self) -> bool:
        return bool(self.present or self.absent)


def facts_of(text: str) -> Facts:
    """The facts of a text, of its first `MAX_CHARACTERS` characters. Never raises."""
    present, absent = set(), set()
    for mention in mentions_of(text[:MAX_CHARACTERS]):
        if mention.status == "present":
            present.add(mention.finding)
        elif mention.status == "absent":
            absent.add(mention.finding)
    return Facts.of(frozenset(present), frozenset(absent))


class Agreement(NamedTuple):
    """Facts held against others: how many agree, how many contradict, and how many that were wanted are missing."""

    agree: int
    contradict: int
    missing: int

    @property
    def precision(self) -> float:
        """Share of the facts of which the truth is known that are true; 0 where there are none."""
        return self.agree / (self.agree + self.contradict) if self.agree else 0.0

    @property
    def f1(self) -> float:
        """1 where all that is wanted is said and nothing false; 0 where nothing agrees, as in a negated copy."""
        return 2 * self.agree / (2 * self.agree + self.contradict + self.missing) if self.agree else 0.0


def agreement(said: Facts, wanted: Facts, truth: Mapping[str, bool]) -> Agreement:
    """`said` against the facts that are `wanted`, and against what else is known: finding → present.

    Facts that are neither wanted nor known count for nothing: more words earn no more. What `said` both asserts and denies
    agrees with nothing and contradicts nothing.
    """
    agree = contradict = 0
    for finding in wanted.present:
        agree += said.says(finding) is True
    for finding in wanted.absent:
        agree += said.says(finding) is False
    for finding in said.present | said.absent:
        true = wanted.says(finding)
        if true is None:
            true = truth.get(finding)
        if true is not None and said.says(finding) is (not true):
            contradict += 1
    return Agreement(agree, contradict, len(wanted.present) + len(wanted.absent) - agree)


@lru_cache(maxsize=256)  # the reference of a group is read once, not once for each response
def known_facts(text: str) -> Facts:
    """`facts_of`, for texts that many responses are held against."""
    return facts_of(text)
