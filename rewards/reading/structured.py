"""Answers in JSON or in a Markdown table, as the plain text that says the same."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from rewards.reading.words import tables

_FENCE = re.compile(r"\A\s*```(?:json)?\s*|\s*```\s*\Z", re.IGNORECASE)
_GROUPS = frozenset(
    f"{group}{noun}" for group in ("present", "absent", "positive", "negative", "normal") for noun in ("", " findings")
)
_RULE = re.compile(r"\s*\|?(?:\s*:?-{2,}:?\s*\|)+\s*(?::?-{2,}:?\s*)?")
_ROW = re.compile(r"\s*\|(.+)\|\s*")


class Structured(NamedTuple):
    """What a structured answer says: its answer in words, and its reason, "" if it gives none."""

    answer: str
    reason: str


def read_json(text: str) -> Structured | None:
    """The answer of a JSON object or list: {"answer": "B", "explanation": "…"}; None if the text is none of these.

    An empty list stands for no finding. Keys that are neither an answer nor a reason leave the object unread.
    """
    if text.lstrip()[:1] not in ("{", "[", "`"):  # as nearly all answers
        return None
    bare = _FENCE.sub("", text)
    if not bare.startswith(("{", "[")):
        return None
    try:
        value = json.loads(bare)
    except (ValueError, RecursionError):
        return None
    if value == []:
        return Structured("No finding", "")
    return _of_object(value) if isinstance(value, dict) else None


def _of_object(value: dict[str, Any]) -> Structured | None:
    groups = {re.sub(r"[\W_]+", " ", key.casefold()).strip(): _in_words(said) for key, said in value.items()}
    if groups and groups.keys() <= _GROUPS:
        return Structured("\n".join(f"{key}: {said}" for key, said in groups.items()), "")
    table = tables()
    answers: list[str] = []
    reasons: list[str] = []
    for key, said in value.items():
        name = re.sub(r"[\W_]+", " ", key.casefold()).strip()
        if name in table.answer_keys:
            answers.append(_in_words(said))
        elif name in table.reason_keys:
            reasons.append(_in_words(said))
        else:
            return None
    return Structured(answers[0], "\n".join(reasons)) if len(answers) == 1 and answers[0] else None


def _in_words(said: Any) -> str:
    """A value as text: its members with commas; "" for a number or anything deeper."""
    if isinstance(said, list):
        return ", ".join(filter(None, map(_in_words, said))) if said else "No finding"
    return said.strip() if isinstance(said, str) else ""


def without_tables(text: str) -> str:
    """The rows of Markdown tables as lines "name: verdict", without their heads."""
    if "|" not in text or "--" not in text:
        return text
    lines = text.split("\n")
    kept: list[str] = []
    for place, line in enumerate(lines):
        is_head = place + 1 < len(lines) and _is_rule(lines[place + 1])
        if not is_head and not _is_rule(line):
            kept.append(_row_in_words(line))
    return "\n".join(kept)


def _is_rule(line: str) -> bool:
    return "--" in line and _RULE.fullmatch(line) is not None


def _row_in_words(line: str) -> str:
    match = _ROW.fullmatch(line)
    if match is None:
        return line
    cells = [cell.strip() for cell in match[1].split("|")]
    return f"{' '.join(cells[:-1])}: {cells[-1]}" if len(cells) > 1 else cells[0]
