"""Radiological signs: what speaks for or against a finding without naming it, read from signs.toml.

A sign is found in a text as a finding is, by the ontology's phrases, with a name of its own ("sign: meniscus"). A text
that asserts or denies signs gives hints, each with a weight below that of a name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

SURE = 0.75
SUGGESTIVE = 0.5
"""What a sign counts, where a finding's name counts 1. Halves and quarters add up exactly, in any order."""

_WEIGHTS = {"sure": SURE, "suggestive": SUGGESTIVE}
_PREFIX = "sign: "


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign.

    Attributes:
        findings: what it speaks for (one of them) or against (all of them).
        speaks_for: whether it speaks for them if it is seen.
        seen: the weight of the sign if it is seen.
        unseen: the weight of the opposite if it is denied.
        phrases: its wordings, as in ontology.toml; empty if it is a finding of the ontology.
        pairs: parts of the body with their appearance.
    """

    findings: tuple[str, ...]
    speaks_for: bool
    seen: float
    unseen: float
    phrases: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    source: str


@dataclass(frozen=True, slots=True)
class SignTable:
    """All signs by the name that a mention of them has, and the words that they bring along."""

    signs: Mapping[str, Sign]
    words: Mapping[str, list[str]]
    parts: Mapping[str, list[str]]
    states: Mapping[str, list[str]]


class Hint(NamedTuple):
    """What signs say: one of the findings is present, or all of them are absent, with a weight below 1."""

    findings: tuple[str, ...]
    is_present: bool
    weight: float


class SeenSign(NamedTuple):
    """A sign as a text mentions it: seen or denied, and on which side."""

    sign: Sign
    is_seen: bool
    side: str


def is_sign(mentioned: str) -> bool:
    """Whether a mention is of a sign that is no finding of the ontology."""
    return mentioned.startswith(_PREFIX)


@cache
def load_signs() -> SignTable:
    """The signs of this package.

    Raises:
        ValueError: a row has neither or both of `shows` and `excludes`.
    """
    data = tomllib.loads(resources.files(__package__).joinpath("signs.toml").read_text("utf-8"))
    signs = dict(_sign(row) for row in data["sign"])
    if len(signs) < len(data["sign"]):
        raise ValueError("signs.toml: two signs have one name")
    return SignTable(signs, data["words"], data["parts"], data["states"])


def _sign(row: dict[str, Any]) -> tuple[str, Sign]:
    name = row["name"]
    if ("shows" in row) == ("excludes" in row):
        raise ValueError(f"sign {name}: give either shows or excludes")
    sign = Sign(
        findings=tuple(row.get("shows") or row["excludes"]),
        speaks_for="shows" in row,
        seen=_WEIGHTS[row["seen"]],
        unseen=_WEIGHTS[row["unseen"]],
        phrases=tuple(row.get("phrases", ())),
        pairs=tuple((part, state) for part, state in row.get("pairs", ())),
        source=row["source"],
    )
    is_finding = not sign.phrases and not sign.pairs
    return (name if is_finding else _PREFIX + name), sign


def hints_of(seen: Sequence[SeenSign]) -> tuple[Hint, ...]:
    """What the signs of a text say, each finding at most once for presence and once for absence.

    Signs that speak for and against the same finding cancel each other, unless those against it are about the other
    side of the chest alone. A sign of several findings speaks for those of them that no sign speaks against.
    """
    against: dict[str, float] = {}
    for statement in seen:
        if _is_for(statement):
            continue
        for finding in statement.sign.findings:
            against[finding] = max(against.get(finding, 0.0), _weight(statement))
    spoken_for: dict[tuple[str, ...], float] = {}
    silenced: set[str] = set()
    for statement in seen:
        if not _is_for(statement):
            continue
        left = tuple(finding for finding in statement.sign.findings if finding not in against)
        if not left:  # all that it may mean is spoken against
            on_other_side = {finding for finding in statement.sign.findings if _other_side(statement, finding, seen)}
            left = tuple(finding for finding in statement.sign.findings if finding in on_other_side)
            silenced.update(statement.sign.findings)
        if left:
            spoken_for[left] = max(spoken_for.get(left, 0.0), _weight(statement))
    hints = [Hint(findings, True, weight) for findings, weight in spoken_for.items()]
    hints += [Hint((finding,), False, weight) for finding, weight in against.items() if finding not in silenced]
    return tuple(hints)


def _is_for(statement: SeenSign) -> bool:
    return statement.sign.speaks_for == statement.is_seen


def _weight(statement: SeenSign) -> float:
    return statement.sign.seen if statement.is_seen else statement.sign.unseen


def _other_side(statement: SeenSign, finding: str, seen: Iterable[SeenSign]) -> bool:
    """Whether all that speaks against the finding is about the other side than a sign that speaks for it."""
    sides = {other.side for other in seen if not _is_for(other) and finding in other.sign.findings}
    return (statement.side, *sides) in (("left", "right"), ("right", "left"))
