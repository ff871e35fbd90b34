"""What a missing value looks like in real tables, and text that is no valid Unicode."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

MISSING_WORDS = frozenset(
    {"nan", "-nan", "<na>", "na", "n/a", "#n/a", "#na", "nat", "null", "<null>", "undefined", "-", "--"}
)
"""How software writes a missing value into a text, in lower case. "None" is not among them: as an answer, it says that
there is nothing."""

_HIDDEN = re.compile(
    r"\[\*\*[^\]]*\]"  # MIMIC-III: [**Hospital 1**]
    r"|<[^<>]*>|\[(?:redacted|removed|deleted|name|date|deidentified|de-identified)\]"
    r"|\b(?:redacted|x{2,})\b|_+|[*█■●]+",
    re.IGNORECASE,
)
_BROKEN = re.compile("[\ud800-\udfff]")  # half of a pair that is one character
_INVISIBLE = str.maketrans("", "", "\0\ufeff")


def is_missing(value: object) -> bool:
    """Whether a value of a table is missing: null, not a number, an empty text, or a word of `MISSING_WORDS`."""
    if isinstance(value, str):
        return value.strip().casefold() in MISSING_WORDS or not value.strip()
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def says_nothing(text: str) -> bool:
    """Whether a text has nothing to read: it is missing, or holds only marks of what was taken out (XXXX, ___)."""
    shown = _HIDDEN.sub(" ", text)
    if shown != text:  # the numbers of a list may be all that is left
        return not any(character.isalpha() for character in shown)
    return is_missing(text) or not any(character.isalnum() for character in unicodedata.normalize("NFKC", text))


def valid_text(text: str) -> str:
    """The text as valid Unicode: half a character becomes U+FFFD; NUL and byte order marks are taken out."""
    return _BROKEN.sub("\ufffd", text).translate(_INVISIBLE)


def valid_texts(value: Any) -> Any:
    """A value of JSON or Parquet with `valid_text` of every text in it."""
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, list):
        return [valid_texts(item) for item in value]
    if isinstance(value, dict):
        return {valid_texts(name): valid_texts(item) for name, item in value.items()}
    return value
