"""The tables of words by which answers are read, from words.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

Words = frozenset[str]

_LISTS = (
    "frame",
    "answer_nouns",
    "tail",
    "between",
    "because",
    "so",
    "hedges",
    "corrections",
    "rejections",
    "not_sure",
    "exceptions",
    "points_to",
    "speaks_for",
    "qualifiers",
    "fillers",
    "headings",
)


@dataclass(frozen=True)
class Tables:
    """Sets of words in lower case; words.toml says what each is for.

    Attributes:
        frame: words around an option that add nothing.
        frame_cjk: matches a run of such words of a script without blanks.
        points_to: words and marks before a letter that say that it is meant, `speaks_for` those after it.
        points_to_cjk: matches such words at the end of a run of a script without blanks; `doubts_cjk` what doubts.
        answer_keys: keys of a JSON object whose value is the answer; beside them `reason_keys` may stand.
        et_cetera: ends of a list that name nothing.
        aliases: finding to other names that stand beside it.
        two_words: two words to "yes" or "no".
        normal: the words that state a healthy film, by their part in the sentence.
    """

    frame: Words
    frame_cjk: re.Pattern[str]
    answer_nouns: Words
    tail: Words
    between: Words
    because: Words
    so: Words
    hedges: Words
    corrections: Words
    rejections: Words
    not_sure: Words
    exceptions: Words
    points_to: Words
    points_to_cjk: re.Pattern[str]
    doubts_cjk: re.Pattern[str]
    speaks_for: Words
    answer_keys: Words
    reason_keys: Words
    qualifiers: Words
    fillers: Words
    headings: Words
    et_cetera: Words
    aliases: Mapping[str, Words]
    yes: Words
    no: Words
    two_words: Mapping[str, str]
    presence: Words
    absence: Words
    normal: NormalWords


@dataclass(frozen=True)
class NormalWords:
    """The words that state a healthy film: see `rewards.reading.normal`."""

    denials: Words
    adjectives: Words
    nouns: Words
    states: Words
    parts: Words
    whole: Words
    fillers: Words
    phrases: Words


@cache
def tables() -> Tables:
    """The tables of this package."""
    data: dict[str, Any] = tomllib.loads(resources.files(__package__).joinpath("words.toml").read_text("utf-8"))
    yes_no, normal = data["yes_no"], data["normal"]
    cjk = sorted(data["frame_cjk"].split(), key=len, reverse=True)
    return Tables(
        **{name: _words(data[name]) for name in _LISTS},
        frame_cjk=re.compile(f"(?:{'|'.join(map(re.escape, cjk))})++"),
        points_to_cjk=re.compile(f"(?:{'|'.join(data['points_to_cjk'].split())})\\Z"),
        doubts_cjk=re.compile("|".join(data["doubts_cjk"].split())),
        answer_keys=frozenset(data["answer_keys"]),
        reason_keys=frozenset(data["reason_keys"]),
        et_cetera=frozenset(data["et_cetera"]),
        aliases={finding: frozenset(names) for finding, names in data["aliases"].items()},
        yes=_words(yes_no["yes"]),
        no=_words(yes_no["no"]),
        two_words=yes_no["two_words"],
        presence=_words(yes_no["presence"]),
        absence=_words(yes_no["absence"]),
        normal=NormalWords(
            **{name: _words(text) for name, text in normal.items() if name != "phrases"},
            phrases=frozenset(normal["phrases"]),
        ),
    )


def _words(text: str) -> Words:
    return frozenset(text.split())
