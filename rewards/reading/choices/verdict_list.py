"""Reads a verdict on each option: "A: no; B: yes; C: no", "Mass - absent", "A ❌ B ✅"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rewards.reading.choices.option_list import read_list
from rewards.reading.choices.option_set import OptionSet
from rewards.reading.marks import MARKS, read_marks, split_at_marks
from rewards.reading.reading import Reading, unread
from rewards.reading.words import tables

_VERDICT = re.compile(
    r"(.*?\S)\s*(?:[:=(\[-]|(?<=[A-G])\.(?=\s)|\b(?:is|was|are|were)(?:\s+(?:both|all))?\b|[)\]])\s*([^\W\d_]+|[01])[.)\]\s]*",
    re.DOTALL | re.IGNORECASE,
)
_BETWEEN = re.compile(r"[,;\n|]+|(?<=[^\W\d_])(?<!option)\s+(?=(?:option\s+)?[(\[]?[A-G][)\]:.])", re.IGNORECASE)
_EXTRA = {"right": True, "wrong": False, "1": True, "0": False}


def read_verdicts(text: str, options: OptionSet) -> Reading | None:
    """The options that a list of verdicts accepts; None if the text is no such list."""
    if len(text) > 400:
        return None
    pieces = [piece.strip() for piece in _BETWEEN.split(text) if piece.strip()]
    if len(pieces) < 2:
        return None
    verdicts: list[tuple[str, bool]] = []
    for piece in pieces:
        match = _VERDICT.fullmatch(piece)
        said = _said(match[2]) if match else None
        listed = read_list(match[1], options) if match and said is not None else None
        if listed is None or said is None:
            return None
        verdicts += [(letter, said) for letter in sorted(listed.letters)]
    return _accepted(verdicts, options, "a verdict on each option")


def read_marked(answer: str, options: OptionSet) -> Reading | None:
    """The options that marks accept: "A ❌ B ✅"; None if the answer has fewer than two marks."""
    if answer.isascii() or sum(character in MARKS for character in answer) < 2:
        return None
    verdicts: list[tuple[str, bool]] = []
    for piece in _marked_pieces(answer):
        name, marks = read_marks(piece)
        listed = read_list(name.strip(" ,;:\n.-="), options) if name else None
        if len(set(marks)) != 1 or listed is None:
            return None
        verdicts += [(letter, marks[0]) for letter in listed.letters]
    return _accepted(verdicts, options, "a mark on each option")


def _marked_pieces(answer: str) -> list[str]:
    """The pieces with a mark each: lines that have one each, wherever in it ("A: ❌ Mass"), else from mark to mark."""
    lines = [line for line in answer.split("\n") if line.strip()]
    has_one_each = all(sum(character in MARKS for character in line) == 1 for line in lines)
    return lines if has_one_each else split_at_marks(answer)


def _said(word: str) -> bool | None:
    lowered = word.casefold()
    if lowered in tables().yes:
        return True
    return False if lowered in tables().no else _EXTRA.get(lowered)


def _accepted(verdicts: Iterable[tuple[str, bool]], options: OptionSet, how: str) -> Reading:
    said: dict[str, bool] = {}
    for letter, accepted in verdicts:
        if said.setdefault(letter, accepted) != accepted:
            return unread("contradicts itself", f"{letter} yes and no")
    letters = tuple(sorted(letter for letter, accepted in said.items() if accepted))
    if not letters:
        return unread("names nothing", "every option is rejected")
    if len(letters) == len(options.texts) and how.startswith("a verdict"):
        return unread("contradicts itself", "every option is accepted")
    return Reading(letters, how)
