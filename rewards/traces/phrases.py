"""The words of gold traces that are not a report's own: denials, short assertions, and what stands around sentences."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from random import Random
from typing import NamedTuple

from rewards.findings.mention import Mention

_OF_SIZE = frozenset(["Effusion", "Pneumothorax", "Mass", "Nodule", "Hernia", "Bulla", "Granuloma", "Lung Lesion"])
_SIZES = {"mild": "small", "moderate": "moderate", "severe": "large"}
_PLACES = {"upper": "upper zone", "middle": "mid zone", "lower": "lower zone", "hilar": "perihilar"}


class Phrases(NamedTuple):
    """The tables of phrases.toml."""

    denials: list[str]
    assertions: list[str]
    leads: list[str]
    right_ends: list[str]
    wrong_ends: list[str]
    openings: list[str]
    sums: list[str]
    sums_of_none: list[str]
    sums_of_letters: list[str]
    not_normal: list[str]
    normal: list[str]
    agreeing: list[str]
    not_against: list[str]
    differing_asserted: list[str]
    differing_denied: list[str]
    unmatched: list[str]
    words: dict[str, list[str]]
    regions: dict[str, list[str]]
    nouns: dict[str, list[tuple[str, str]]]
    own_denials: dict[str, list[str]]
    region_of: dict[str, str]


@cache
def load_phrases() -> Phrases:
    """The phrases of this package."""
    return Phrases(**tomllib.loads(resources.files(__package__).joinpath("phrases.toml").read_text("utf-8")))


def filled(pattern: str, finding: str, draw: Random, quality: str = "", noun: tuple[str, str] | None = None) -> str:
    """A phrase about a finding, with one of its nouns."""
    name, article = noun or draw.choice(nouns_of(finding))
    with_article = f"{article} {name}" if article else name
    what = f"{_article(quality, article)}{quality} {name}" if quality else with_article
    return pattern.format(
        name=name,
        a_name=with_article,
        A_name=_capital(with_article),
        what=what,
        What=_capital(what),
        region=draw.choice(load_phrases().regions[load_phrases().region_of.get(finding, "lungs")]),
    )


def nouns_of(finding: str) -> list[tuple[str, str]]:
    """The nouns of a finding, each with its article."""
    known = load_phrases().nouns.get(finding)
    return [(name, article) for name, article in known] if known else [(finding.lower(), "")]


def denials_of(finding: str, draw: Random) -> list[str]:
    """All ways to deny a finding, in a random order."""
    phrases = load_phrases()
    patterns = [*phrases.own_denials.get(finding, ()), *phrases.denials]
    draw.shuffle(patterns)
    return [filled(pattern, finding, draw) for pattern in patterns]


def assertions_of(finding: str, mention: Mention | None, draw: Random) -> list[str]:
    """All ways to assert a finding with the side, size and place of a mention, in a random order."""
    patterns = list(load_phrases().assertions)
    draw.shuffle(patterns)
    quality = quality_of(mention) if mention else ""
    return [filled(pattern, finding, draw, quality) for pattern in patterns]


def quality_of(mention: Mention) -> str:
    """Size, side and place of a mention as words before its noun: "small left basal"."""
    severity: str = mention.severity
    if mention.finding in _OF_SIZE:
        severity = _SIZES.get(severity, "")
    place = _PLACES.get(mention.place, mention.place)
    return " ".join(word for word in (severity, mention.side, place) if word)


def _article(quality: str, article: str) -> str:
    if not article:
        return ""
    return "an " if quality[0] in "aeiou" else "a "


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
