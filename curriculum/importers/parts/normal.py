"""Whether an answer says that the film is normal: the phrases of answers.toml."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import cache
from importlib import resources

_NO_WORD = re.compile(r"[^\w]+")
_PIECES = re.compile(r"[.;,\n!]+")
_ELEMENT = re.compile(r"\{(\w+)\}|([()|])|(\[)|(\])|(\w+)")
_DENIAL = re.compile(
    r"(?:there (?:is|are|was|were) )?(?:no|not|without|absence of|absent|negative for|denies)\b(?! longer)"
)
_LONGEST = 300  # characters; what is longer is a report


def is_normal(answer: str) -> bool:
    """Whether the answer, as a whole or in each of its parts, is a phrase of answers.toml for nothing wrong."""
    if len(answer) > _LONGEST:
        return False
    healthy, part = _phrases()
    whole = _plain(answer)
    if healthy.fullmatch(whole):
        return True
    pieces = [piece for piece in map(_plain, _PIECES.split(answer)) if piece]
    said = [bool(healthy.fullmatch(piece)) for piece in pieces]
    return any(said) and all(sure or part.fullmatch(piece) for sure, piece in zip(said, pieces, strict=True))


def denies(item: str) -> bool:
    """Whether an item of a list says that something is not there ("No pneumothorax"); it is no name of a finding."""
    return bool(_DENIAL.match(_plain(item)))


def _plain(text: str) -> str:
    """Lower case words with one blank between them."""
    return _NO_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


@cache
def _phrases() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The phrases of the file: those that say that nothing is wrong, and those that say it of a part."""
    table = tomllib.loads(resources.files(__package__).joinpath("answers.toml").read_text(encoding="utf-8"))
    classes = {name: "(?:" + "|".join(phrases) + ")" for name, phrases in table["classes"].items()}
    return _pattern(table["healthy"], classes), _pattern(table["part"], classes)


def _pattern(phrases: list[str], classes: dict[str, str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{_expression(phrase, classes)})" for phrase in phrases))


def _expression(phrase: str, classes: dict[str, str]) -> str:
    """A phrase as a regular expression over words that each end with a blank or the end of the text."""
    parts = []
    for name, grouping, opened, closed, word in _ELEMENT.findall(phrase):
        if name:
            parts.append(rf"{classes[name]}\b ?")
        elif grouping:
            parts.append({"(": "(?:", ")": ")", "|": "|"}[grouping])
        elif opened or closed:
            parts.append("(?:" if opened else ")?")
        elif word:
            parts.append(rf"{word}\b ?")
    return "".join(parts)
