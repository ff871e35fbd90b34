"""Reads what stands in an answer block: marks, option letters, lists of names. What cannot be read surely is not guessed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

_RIGHT, _WRONG = "✅✔✓☑", "❌✖✗✘"
_MARK = re.compile(f"([{_RIGHT}{_WRONG}])\ufe0f?")

# Runs of white space are possessive (*+) where another may follow: a failed match would try every cut between them.
_LEAD = (r"(?:[-•*–]\s*+)?(?:(?:the\s++)?(?:(?:final|correct|right)\s++)?(?:answer|option|choice)s?\b"
         r"(?:\s++(?:is|are)\b)?\s*+[:=]?\s*+)?(?:\\boxed)?[(\[{]?\s*+")
_BETWEEN_OPTIONS = re.compile(r"[^\S\n]*(?:[,;/&\n]|and\b)(?:[\s,;/&]|and\b)*", re.IGNORECASE)

_BETWEEN_NAMES = re.compile(r"[,;\n/&•·]|(?<!\S)and(?!\S)", re.IGNORECASE)
_BULLET = re.compile(r"^(?:[-*–—]|\d{1,2}[.)])\s+")
_LABEL = re.compile(r"(?:final\s+)?(?:answers?|diagnos[ie]s|findings?|candidates?|differential|impression)\s*:",
                    re.IGNORECASE)


def read_marks(answer: str) -> tuple[str, list[bool]]:
    """The answer without its marks, stripped, and the marks in order: True for ✅ ✔ ✓ ☑, False for ❌ ✖ ✗ ✘."""
    marks = [mark in _RIGHT for mark in _MARK.findall(answer)]
    return _MARK.sub("", answer).strip(), marks


def read_options(answer: str, options: Mapping[str, str]) -> tuple[str, ...] | None:
    """The option letters that an answer without marks names, sorted, each once; None where it cannot be read.

    Read are "B", "(b)", "B.", "B) Edema", "Answer: B", "A, C", "A and C", and an option's own text ("Edema", "Yes"),
    in any case and width. Everything in the answer must belong to such a form: a letter inside a word, an unknown
    letter, a letter with another option's text or any further word make it unreadable.
    """
    text = unicodedata.normalize("NFKC", answer).replace("**", "").strip()
    item = _option_pattern(tuple(options.items()))
    letters: set[str] = set()
    position = 0
    while match := item.match(text, position):
        letters.add(tuple(options)[int(match.lastgroup[1:])])
        if match.end() == len(text):
            return tuple(sorted(letters))
        between = _BETWEEN_OPTIONS.match(text, match.end())
        if between is None:
            return None
        position = between.end()
    return None


@lru_cache(maxsize=1024)  # a group's responses share their options
def _option_pattern(options: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    """One option at a position: group oN is its letter with or without its text, tN its text alone."""
    # Texts first, the longest first: "No finding" before "No".
    texts = [(unicodedata.normalize("NFKC", text).strip(), index) for index, (_, text) in enumerate(options)]
    alone = [rf"(?P<t{i}>{_words(text)})" for text, i in sorted(texts, key=lambda t: -len(t[0])) if text]
    lettered = []
    for (text, i), (letter, _) in zip(texts, options, strict=True):
        own_text = rf"(?:\s*+[-–—]?\s*+{_words(text)}(?!\w))?" if text else ""
        lettered.append(rf"(?P<o{i}>{re.escape(letter)}(?!\w)(?:\s*+[)\]}}.:]+)?{own_text})")
    return re.compile(rf"{_LEAD}(?:{'|'.join(alone + lettered)})(?!\w)[)\]}}.]*", re.IGNORECASE)


def _words(text: str) -> str:
    return r"\s++".join(re.escape(word) for word in text.split())


def split_names(answer: str) -> list[str]:
    """The names of a list without marks, in order: split at , ; / & "and", bullets, numbers and line ends.

    A heading such as "Findings:" and brackets around names are dropped. Names stay as written.
    """
    text = unicodedata.normalize("NFKC", answer).replace("**", "").strip()
    if label := _LABEL.match(text):
        text = text[label.end():]
    names = (_BULLET.sub("", part.strip(), count=1).strip(" \t\r\f\v.:[](){}") for part in _BETWEEN_NAMES.split(text))
    return [name for name in names if name]
