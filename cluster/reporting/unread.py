"""The answers of a run that could not be read, by reason: a model's dialect that the rules don't know yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards.reading.parser import parse

_MAX_EXAMPLE = 120  # characters


@dataclass(frozen=True)
class UnreadAnswers:
    """Answers that stay unread for one reason.

    Attributes:
        share: of all sampled responses.
        example: the newest of them.
    """

    reason: str
    count: int
    share: float
    example: str


def unread_answers(folder: Path) -> list[UnreadAnswers]:
    """The reasons in the sampled responses of a run, the commonest first; none if it has no samples."""
    counts: dict[str, int] = {}
    examples: dict[str, str] = {}
    total = 0
    for row in _samples(folder / "trajectories.jsonl"):
        total += 1
        reason = row["verdict"].get("unread", "")  # older runs did not record it
        if reason:
            counts[reason] = counts.get(reason, 0) + 1
            examples[reason] = _final_answer(row["response"])
    rows = [UnreadAnswers(reason, count, count / total, examples[reason]) for reason, count in counts.items()]
    return sorted(rows, key=lambda row: (-row.count, row.reason))


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):  # a run in progress may be writing the last one
                yield json.loads(line)


def _final_answer(response: str) -> str:
    pairs = parse(response).pairs
    answer = " ".join(pairs[-1].answer.split()) if pairs else ""
    return answer if len(answer) <= _MAX_EXAMPLE else answer[:_MAX_EXAMPLE] + "…"
