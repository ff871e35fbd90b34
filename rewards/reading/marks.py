"""Marks in an answer: ✅ ✔ ✓ ☑ for yes, ❌ ✖ ✗ ✘ for no, with or without a variation selector."""

from __future__ import annotations

import re

RIGHT = "✅✔✓☑"
WRONG = "❌✖✗✘"
MARKS = RIGHT + WRONG
_MARK = re.compile(f"([{MARKS}])\ufe0f?")
_AFTER_MARK = re.compile(rf"(?<=[{MARKS}\ufe0f])[\s,;]*+(?=[^\s,;{MARKS}\ufe0f])")
_BEFORE_MARK = re.compile(rf"(?<=[^\s,;{MARKS}])[\s,;]*+(?=[{MARKS}])")
MAX_CHARACTERS = 1000  # of an answer that names options or findings; a longer one is not an answer


def read_marks(answer: str) -> tuple[str, list[bool]]:
    """The answer without its marks, stripped, and the marks in order: True for ✅ ✔ ✓ ☑, False for ❌ ✖ ✗ ✘.

    No marks are read in more than `MAX_CHARACTERS` characters: that is not an answer.
    """
    if answer.isascii() or len(answer) > MAX_CHARACTERS:
        return answer.strip(), []
    name, last = answer[:-1], answer[-1]
    if name.isascii() and last in MARKS:  # as nearly all answers with a mark are
        return name.strip(), [last in RIGHT]
    marks = [mark in RIGHT for mark in _MARK.findall(answer)]
    return (_MARK.sub("", answer) if marks else answer).strip(), marks


def split_at_marks(text: str) -> list[str]:
    """Splits "Edema ✅ Mass ❌" and "✅ Edema ❌ Mass" into two pieces each, with their marks."""
    if text.isascii():
        return [text]
    return (_BEFORE_MARK if _MARK.match(text.lstrip()) else _AFTER_MARK).split(text)
