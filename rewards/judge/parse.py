"""Reads the score out of what a judge wrote. What is no clear score is a fault, never a guess."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from rewards.custom_rules import RuleFault

SCORE = (
    r"(?im)^[^\w\n]*(?:final |overall )?(?:score|rating)\b(?:\s*\([^)\n]{0,30}\))?[^\w\n-]{0,12}(?:is )?"
    r"(-?\d+(?:\.\d+)?)(?![\d.]*\d|\s*[-–]\s*\d)"
)
"""A line that begins with "Score: 7", in any usual dress."""
LONGEST = 50_000  # characters of an answer that are read, from its end
MAX_OBJECTS = 50
SHOWN = 80
_THOUGHT = re.compile(r"</think\s*>", re.IGNORECASE)
_OUT_OF = re.compile(r"\s*(?:/|out of)\s*(\d+(?:\.\d+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class ScoreFormat:
    """Where a judge's score is.

    Attributes:
        regex: its first group is the score; the last match counts.
        key: of a JSON object, instead of `regex`; "" for none.
        low, high: the scores that mean 0 and 1.
    """

    regex: str = SCORE
    key: str = ""
    low: float = 0.0
    high: float = 10.0

    def value(self, text: str) -> float:
        """The score in a judge's answer, mapped to [0, 1].

        Raises:
            RuleFault: there is none, or it is out of range.
        """
        words = _without_thoughts(text[-LONGEST:])
        score = self._by_key(words) if self.key else self._by_regex(words)
        if not (math.isfinite(score) and min(self.low, self.high) <= score <= max(self.low, self.high)):
            raise RuleFault(f"the judge's score {score:g} is not between {self.low:g} and {self.high:g}")
        return (score - self.low) / (self.high - self.low)

    def _by_regex(self, text: str) -> float:
        found = None
        for match in re.finditer(self.regex, text):
            found = match
        if found is None:
            raise RuleFault(f"the judge gave no score: {_shown(text)}")
        scale = _OUT_OF.match(text, found.end(1))
        if scale and float(scale[1]) != self.high:
            raise RuleFault(f"the judge scored out of {scale[1]}, not {self.high:g}: {_shown(found[0])}")
        return _number(found[1], text)

    def _by_key(self, text: str) -> float:
        for tree in reversed(_objects(text)):
            if self.key in tree:
                return _number(tree[self.key], text)
        raise RuleFault(f'the judge gave no JSON object with "{self.key}": {_shown(text)}')


def _without_thoughts(text: str) -> str:
    """What follows the last think block of a reasoning model."""
    answer = _THOUGHT.split(text)[-1]
    if answer.lstrip().lower().startswith("<think"):
        raise RuleFault("the judge's thoughts do not end")
    return answer


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text, in order; what is inside another is not listed."""
    decoder = json.JSONDecoder()
    found = []
    position = text.find("{")
    for _ in range(MAX_OBJECTS):
        if position < 0:
            break
        try:
            tree, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            found.append(tree)
        position = text.find("{", end)
    return found


def _number(found: Any, text: str) -> float:
    """A score as a number; true and false are none."""
    try:
        if isinstance(found, bool):
            raise TypeError
        return float(found)
    except (TypeError, ValueError):
        raise RuleFault(f"the judge's score is no number: {_shown(text)}") from None


def _shown(text: str) -> str:
    """The end of a text in one line."""
    line = " ".join(text[-4 * SHOWN :].split())
    return repr(line if len(line) <= SHOWN else f"…{line[-SHOWN:]}")
