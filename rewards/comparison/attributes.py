"""Side, severity and place of findings: what a text says of them, and how well that fits what is known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from rewards.findings.canonical import canonical
from rewards.findings.extract import extract
from rewards.findings.mention import Mention
from rewards.findings.ontology import load_ontology

Attribute = Literal["side", "severity", "place"]

UNSAID = 0.5
"""What an attribute counts that is known and that a text leaves out, gets partly right, or gives by a near word."""

_NEIGHBOURS = {
    frozenset(pair)
    for pair in (
        ("mild", "moderate"),
        ("moderate", "severe"),
        ("upper", "apical"),
        ("lower", "basal"),
        ("lower", "retrocardiac"),
        ("basal", "retrocardiac"),
        ("upper", "lingular"),
        ("middle", "lingular"),
    )
}
_SIDE_WORD = re.compile(r"\b(?:left|right|bilateral(?:ly)?|both)\b", re.IGNORECASE)
_MAX_ADDITION = 4  # words of a part such as "small and left" that belongs to the name before it
_NONE: frozenset[str] = frozenset()


class Attributes(NamedTuple):
    """What is said of a finding. An empty set says nothing; bilateral is left and right."""

    side: frozenset[str] = _NONE
    severity: frozenset[str] = _NONE
    place: frozenset[str] = _NONE

    def joined(self, other: Attributes) -> Attributes:
        return Attributes(self.side | other.side, self.severity | other.severity, self.place | other.place)


UNKNOWN = Attributes()


def attributes_of(mentions: Iterable[Mention]) -> dict[str, Attributes]:
    """The attributes of the findings that mentions assert, and of everything that these are kinds of."""
    findings = load_ontology().findings
    found: dict[str, Attributes] = {}
    for mention in mentions:
        said = _of_mention(mention)
        if mention.status != "present" or said == UNKNOWN:
            continue
        kinds = findings[mention.finding].ancestors if mention.finding in findings else (mention.finding,)
        for kind in kinds:
            found[kind] = found.get(kind, UNKNOWN).joined(said)
    return found


def _of_mention(mention: Mention) -> Attributes:
    return Attributes(
        side=_sides(mention.side),
        severity=frozenset([mention.severity]) if mention.severity else _NONE,
        place=frozenset([mention.place]) if mention.place else _NONE,
    )


def _sides(word: str) -> frozenset[str]:
    if word in ("left", "right"):
        return frozenset([word])
    return frozenset(["left", "right"]) if word else _NONE


def attributes_of_names(names: Sequence[str]) -> dict[str, Attributes]:
    """The attributes of the findings in a list of names, as an answer or a gold has it.

    A part without a finding, as in "Effusion, left", belongs to the name before it. All sides in a name of one finding
    count, so that a mix of them ("left right effusion") is both.
    """
    found: dict[str, Attributes] = {}
    for name in _whole_names(names):
        if canonical(name) in load_ontology().findings:
            continue  # a bare name
        mentions = [mention for mention in extract(name).mentions if mention.status == "present"]
        said = attributes_of(mentions)
        if len({mention.finding for mention in mentions}) == 1:
            words = _SIDE_WORD.findall(name)
            sides = _NONE.union(*(_sides(word.lower()) for word in words))
            said = {finding: value.joined(Attributes(sides)) for finding, value in said.items()}
        for finding, value in said.items():
            found[finding] = found.get(finding, UNKNOWN).joined(value)
    return found


def _whole_names(names: Sequence[str]) -> list[str]:
    """The names, each with the parts after it that name nothing."""
    whole: list[str] = []
    for name in names:
        is_addition = len(name.split()) <= _MAX_ADDITION and not _names_something(name)
        if whole and is_addition:
            whole[-1] += f", {name}"
        else:
            whole.append(name)
    return whole


def _names_something(name: str) -> bool:
    return canonical(name) in load_ontology().findings or bool(extract(name).mentions)


def likeness(said: Attributes, known: Attributes, which: Sequence[Attribute]) -> float:
    """How well what is said of a finding fits what is known: the least of its attributes, in [0, 1].

    An attribute that is not known counts 1. One that is known and left out counts `UNSAID`, and so does one that is
    partly right, such as both sides for one: to name them all pays no more than to name none.
    """
    return min((_share(getattr(said, name), getattr(known, name)) for name in which), default=1.0)


def _share(said: frozenset[str], known: frozenset[str]) -> float:
    if not known or said == known:
        return 1.0
    return UNSAID if not said or said & known or said | known in _NEIGHBOURS else 0.0


ALL: tuple[Attribute, ...] = ("side", "severity", "place")


def contradicted(said: Mapping[str, Attributes], known: Mapping[str, Attributes]) -> set[str]:
    """The findings of which something else is said than what is known."""
    return {name for name in said.keys() & known.keys() if likeness(said[name], known[name], ALL) == 0}


def likenesses(
    said: Mapping[str, Attributes],
    known: Mapping[str, Attributes],
    findings: Iterable[str],
    which: Sequence[Attribute],
) -> dict[str, float]:
    """The likeness of each of the findings, without those that fit."""
    values = {name: likeness(said.get(name, UNKNOWN), known.get(name, UNKNOWN), which) for name in findings}
    return {name: value for name, value in values.items() if value < 1}


def differences(
    said: Mapping[str, Attributes],
    known: Mapping[str, Attributes],
    findings: Iterable[str],
    which: Sequence[Attribute],
) -> str:
    """The findings whose attributes don't fit, in words: "Effusion: right, gold left"."""
    told = []
    for name in sorted(findings):
        ours, theirs = said.get(name, UNKNOWN), known.get(name, UNKNOWN)
        for attribute in which:
            if _share(getattr(ours, attribute), getattr(theirs, attribute)) < 1:
                word, gold = _in_words(getattr(ours, attribute)), _in_words(getattr(theirs, attribute))
                told.append(f"{name}: {word or f'no {attribute}'}, gold {gold}")
    return "; ".join(told)


def _in_words(values: frozenset[str]) -> str:
    return "bilateral" if values == {"left", "right"} else " and ".join(sorted(values))


def denied_elsewhere(mentions: Sequence[Mention]) -> set[str]:
    """The findings that a text asserts on one side and denies on the other: "left effusion, none on the right"."""
    asserted = attributes_of(mentions)
    denials: dict[str, frozenset[str]] = {}
    unsided = set()
    for mention in mentions:
        if mention.status != "absent":
            continue
        if not mention.side:
            unsided.add(mention.finding)
        denials[mention.finding] = denials.get(mention.finding, _NONE) | _sides(mention.side)
    found = set()
    for finding, sides in denials.items():
        own = asserted.get(finding, UNKNOWN).side
        if own and finding not in unsided and not own & sides:
            found.add(finding)
    return found
