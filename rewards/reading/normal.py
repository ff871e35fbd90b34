"""Statements of a healthy film: "No acute cardiopulmonary process", "Normal heart and lungs", "The lungs are clear".

A statement is one if all its words are in the tables, and either a denial comes before a noun ("no … abnormality"), or
a word for a normal state stands with a part of the chest or alone, without such a noun.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from curriculum.task import NO_FINDING
from rewards.findings.canonical import canonical
from rewards.reading.words import tables

Normality = Literal["film", "part", ""]
"""Whether a statement calls the whole film healthy, only a part of it (or only free of acute disease), or neither."""
_WORD = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*+")
_SENTENCE_END = re.compile(r"(?<=[.!])\s+|[;\n]+|,\s*(?=no\b)", re.IGNORECASE)
_ODD_MARK = re.compile(r"[^\w\s.,;:()\[\]'/-]")
_EDGES = " \t\n.,:;!()[]{}-"
_MAX_CHARACTERS = 200
_NOT_WHOLE = frozenset(
    {
        "acute",
        "active",
        "other",
        "additional",
        "further",
        "new",
        "major",
        "concerning",
        "otherwise",
        "rest",
        "remainder",
        "remaining",
        "else",
    }
)

_WEAK_STATES = frozenset({"well", "expanded", "inflated", "aerated", "normally"})  # of lungs that may still be sick


@lru_cache(maxsize=4096)
def normality(statement: str) -> Normality:
    """What one statement, up to a full stop, says of the film."""
    text = statement.strip(_EDGES)
    if canonical(text) == NO_FINDING:
        return "film"
    if len(text) > _MAX_CHARACTERS or _ODD_MARK.search(text):
        return ""
    table = tables().normal
    lowered = text.casefold()
    if any(phrase == lowered for phrase in table.phrases):
        return "film"
    for phrase in ("within normal limits", "not enlarged"):
        lowered = lowered.replace(phrase, "normal")
    words = _WORD.findall(lowered) if "-" not in lowered else _words_in_parts(lowered)
    if not all(_is_known(word) for word in words) or len(table.denials.intersection(words)) > 1:
        return ""
    if words[:2] in (["there", "is"], ["there", "was"]):
        words = words[2:]
    denial = _first(words, table.denials)
    noun = _first(words, table.nouns)
    if noun is not None:
        if denial is None or denial > noun:
            return ""
        return "part" if _NOT_WHOLE.intersection(words) else "film"
    if words[:2] in (["nothing", "abnormal"], ["nothing", "acute"]) and table.fillers.issuperset(words[2:]):
        return "film"
    if words[:1] in (["none"], ["nothing"]) and all(word in table.fillers for word in words[1:]):
        return "film"
    if not table.states.intersection(words) or not all(_describes_health(word) for word in words):
        return ""
    parts = table.parts.intersection(words)
    is_weak = _WEAK_STATES.issuperset(table.states.intersection(words))
    is_whole = not _NOT_WHOLE.intersection(words) and (not parts or table.whole.intersection(words)) and not is_weak
    return "film" if is_whole else "part"


def is_normal(text: str) -> bool:
    """Whether every statement of a text says that the film, or a part of it, is healthy."""
    statements = [part for part in _SENTENCE_END.split(text.strip(_EDGES)) if part.strip(_EDGES)]
    return bool(statements) and all(normality(part) for part in statements)


def _words_in_parts(text: str) -> list[str]:
    """The words, hyphenated ones in parts unless they are in a table as they are."""
    words: list[str] = []
    for word in _WORD.findall(text):
        words += [word] if _is_known(word) else word.split("-")
    return words


def _is_known(word: str) -> bool:
    table = tables().normal
    return (
        word.isdecimal()
        or word in table.fillers
        or word in table.parts
        or word in table.adjectives
        or word in table.nouns
        or word in table.states
        or word in table.denials
    )


def _describes_health(word: str) -> bool:
    table = tables().normal
    return word in table.fillers or word in table.parts or word in table.states


def _first(words: list[str], table: frozenset[str]) -> int | None:
    return next((place for place, word in enumerate(words) if word in table), None)
