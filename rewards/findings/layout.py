"""Splits a text into sentences, however it is laid out: wrapped lines, lists, bullets, numbers, tables.

A line end is a blank if the line was wrapped there, and the end of a statement if it was put there on purpose:

    There is no evidence of⏎pneumothorax.        "of" needs more: one sentence
    No pneumothorax⏎Cardiomegaly                 a new statement
    a wide paragraph, each line as full as it gets    wrapped, unless the next line begins as a new sentence does
"""

from __future__ import annotations

import itertools
import re
import tomllib
from functools import cache
from importlib import resources
from typing import NamedTuple

_MIN_WIDTH, _MAX_WIDTH = 40, 110  # characters; lines that are wrapped have a width between these
_MAX_SENTENCE = 1000  # characters; anything longer is not a sentence and is read in pieces

_PARAGRAPH_END = re.compile(r"\n\s*\n")
# Not the dot of 1.5, "vs." or "e.g.". The pattern begins with one set of characters because `re` searches much faster
# that way.
_SENTENCE_END = re.compile(
    r"[;!\n.](?:(?<=[;!\n])|(?<=\.)(?<!\b(?i:vs)\.)(?<!\b(?i:dr)\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\b[aA]pprox\.)"
    r"(?<!\b(?i:incl)\.)(?<!\b(?i:pulm)\.)(?<!\b(?i:bilat)\.)"
    r"(?<!\b(?i:[lr]t)\.)(?<!\b(?i:mod)\.)(?<!\b(?i:poss)\.)(?<!\b(?i:prob)\.)(?:(?!\d)|(?<!\d\.)))(?<!\be\.)(?<!\bi\.)"
)
_ABBREVIATION_END = re.compile(r"\b(?:vs|dr|e\.g|i\.e|approx|incl|poss|prob|pulm|bilat|[lr]t|mod)\.$", re.IGNORECASE)
_ITEM = re.compile(r"[-–—*•·▪◦●‣+]\s*\S|\(?(?:\d{1,2}|[a-hA-H])[.)/]|\|")
_ROW = re.compile(r"[A-Za-z][A-Za-z ]{2,40}\s[-–—=]\s")  # "Effusion - trace"
_WORD_AT_START = re.compile(r"\W*([\w/]+)")
_LAST_WORDS = re.compile(r"(?:^|(\S+)\s+)([\w/]+)\W*$")

_MARKUP = re.compile(  # begins with one set of characters, as `_SENTENCE_END` does
    r"[•·▪◦●‣|→=±?+\t–—*(/).-](?:(?<=[•·▪◦●‣|→=±?+\t–—])|(?<=-)[->\s]|(?<=\*)\s|(?<=\()-|(?<=[\dA-Ha-h][)/])\s|(?<=\s/)\s|(?<=\.)\.\.)"
)
_BULLET = re.compile(r"(?:^|(?<=\s))(?:\*|\(?(?:\d{1,2}|[a-hA-H])\)|\d/)\s|[•·▪◦●‣]")
_SIGN = re.compile(r"\(\s*([-+–])\s*\)")
_MAYBE = re.compile(r"\+\s?/\s?-|±")
_QUERY = re.compile(r"(?:^|(?<=[\s,(;:]))\?\s?(?=[A-Za-z])")
_POINTER = re.compile(r"(?<!\s)\s*+(?:->|=>|→|=(?!=)|\t+|\.{3,})\s*")
_SLASH = re.compile(r"\s/\s")
_BAR = re.compile(r"(?<!\s)\s*+\|[\s|:-]*")
_DASH = re.compile(  # each begins where a run of white space does: else every place in it would be tried
    r"(?<![\s\d])\s++-{1,2}\s++|(?<!\s)\s++-{1,2}\s++(?!\d)|(?<!\s)\s*+[–—]\s*+(?!\d)|(?<=\w)--(?=\w)"
)
_VALUE = re.compile(
    r"(?:yes|no|none|nil|absent|present|negative|positive|normal|resolved|unchanged|stable|possible|uncertain|equivocal"
    r"|not (?:seen|present|identified|visualized|visible|detected)|n/a)\s*(?:[.,;|\n)]|$)",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"(?:or|and|nor|not|which|that|than|is|are|has|have|was|were|cannot|can't|likely|unlikely|probably|possibly|perhaps"
    r"|may|could|might|seen|left|right|sided|like)\b",
    re.IGNORECASE,
)


_COPULAS = frozenset(["is", "are", "was", "were", "be", "been", "appears", "appear", "remains", "remain"])


class _LineWords(NamedTuple):
    """Words that tell where a statement goes on: see layout.toml."""

    open: frozenset[str]
    adjectives: frozenset[str]
    continuing: frozenset[str]
    starting: frozenset[str]
    headings: frozenset[str]


@cache
def _line_words() -> _LineWords:
    data = tomllib.loads(resources.files(__package__).joinpath("layout.toml").read_text("utf-8"))
    return _LineWords(*(frozenset(data[kind]) for kind in _LineWords._fields))


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text: what lies between blank lines."""
    if "\n" not in text:
        return [text]
    return _PARAGRAPH_END.split(text.replace("\r\n", "\n"))


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, in order, each on one line; none is longer than `_MAX_SENTENCE`."""
    if "\n" in paragraph:
        paragraph = unwrapped(paragraph)
    if _MARKUP.search(paragraph):
        paragraph = _without_markup(paragraph)
    parts = _SENTENCE_END.split(paragraph)
    if len(paragraph) <= _MAX_SENTENCE:
        return parts
    pieces: list[str] = []
    for part in parts:
        pieces += (part[start : start + _MAX_SENTENCE] for start in range(0, len(part), _MAX_SENTENCE))
    return pieces


def unwrapped(paragraph: str) -> str:
    """The paragraph with a blank for each line end at which a line was wrapped."""
    lines = [line for line in (line.strip() for line in paragraph.split("\n")) if line]
    if len(lines) < 2:
        return "".join(lines)
    is_wrapped = _is_wrapped(lines)
    is_cased = any(line != line.upper() and line != line.lower() for line in lines)
    joined = [lines[0]]
    for before, after in itertools.pairwise(lines):
        joined += (" " if _goes_on(before, after, is_wrapped, is_cased) else "\n", after)
    return "".join(joined)


def _is_wrapped(lines: list[str]) -> bool:
    """Whether each line is so full that the next word had no room in it."""
    width = max(map(len, lines))
    if not _MIN_WIDTH <= width <= _MAX_WIDTH:
        return False
    for before, after in itertools.pairwise(lines):
        has_room = len(before) + 1 + len(after.split(maxsplit=1)[0]) <= width
        if has_room and before[-1] not in ".:;!?":
            return False
    return True


def _goes_on(before: str, after: str, is_wrapped: bool, is_cased: bool) -> bool:
    """Whether the statement of one line goes on in the next."""
    if _ITEM.match(after) or (_ROW.match(before) and _ROW.match(after)):
        return False
    if before[-1] in ".;:!?|":
        return before[-1] == "." and _ABBREVIATION_END.search(before) is not None
    words = _line_words()
    last = _LAST_WORDS.search(before[-60:])
    first = _WORD_AT_START.match(after)
    if last and (last[1] or "").endswith(":") and last[1].lower() not in words.headings:
        return False  # "Edema: no" is a row of a table
    if before[-1] == "," or (last and last[2].lower() in words.open):
        return True
    if first is None or first[1].lower() in words.continuing or after[0] in "(,":
        return True
    ends_in_adjective = last is not None and last[2].lower() in words.adjectives and _begins_noun(last[1] or "")
    if not is_cased:
        return ends_in_adjective or (is_wrapped and first[1].lower() not in words.starting)
    if first[1][0].islower():
        return is_wrapped or ends_in_adjective or len(before) >= _MIN_WIDTH
    return is_wrapped and first[1].isupper() and first[1].lower() not in words.starting  # an abbreviation


def _begins_noun(word_before: str) -> bool:
    """Whether an adjective after this word begins "small effusion", and does not end "the effusion is small"."""
    words = _line_words()
    word = word_before.lower()
    is_predicate = word in _COPULAS or not (word in words.adjectives or word in words.open)
    return word == "" or word[-1] in ".,;:" or not is_predicate


def _without_markup(text: str) -> str:
    """The text with bullets, dashes, arrows and tables as plain punctuation."""
    text = _SIGN.sub(lambda sign: ": present " if sign[1] == "+" else ": absent ", text)
    text = _MAYBE.sub(" with or without ", text)
    if "?" in text:
        text = _QUERY.sub(" questionable ", text)
    text = _SLASH.sub(", ", _BULLET.sub("; ", text))
    if "|" in text:
        text = _BAR.sub(_colon_or_end, text)
    text = _POINTER.sub(_colon_or_end, text)
    return _DASH.sub(_dash, text)


def _colon_or_end(match: re.Match[str]) -> str:
    """A colon before a value ("Edema | none"), else the end of a statement."""
    if "=" in match[0] and ">" not in match[0]:
        return ": "
    return ": " if _VALUE.match(match.string, match.end()) else "; "


def _dash(match: re.Match[str]) -> str:
    if _VALUE.match(match.string, match.end()):
        return ": "
    return ", " if _GOES_ON.match(match.string, match.end()) else "; "
