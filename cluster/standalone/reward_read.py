"""`curlvpr reward read`: how the final answer of each response was read, and if it was not, why not."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cluster.standalone.reward_file import Row, read_rows
from rewards.config import RewardConfig
from rewards.forms import FORMS
from rewards.reading.parser import parse
from rewards.reading.reading import Reading

_NO_ANSWER = "there is no pair of think and answer"


def print_readings(path: Path) -> None:
    """Prints a line for each row of a file, and how many are unread and why to standard error.

    Raises:
        UserError: as `read_lines`.
    """
    unread: Counter[str] = Counter()
    for line in read_lines(path, unread):
        print(line)
    print(summary_of(unread), file=sys.stderr)


def read_lines(path: Path, unread: Counter[str]) -> Iterator[str]:
    """A JSON object for each row of a file: its final answer, and what was read from it and how, or why nothing was.

    Args:
        unread: takes the number of unread answers by reason, and the number of all rows under "".

    Raises:
        UserError: as `read_rows`.
    """
    for row in read_rows(path, RewardConfig()):
        unread[""] += 1
        answer, reading = _read(row)
        if reading is None:
            yield json.dumps({"answer": answer, "read": [answer], "how": "as it is"}, ensure_ascii=False)
            continue
        if reading.value is None:
            unread[reading.unread or _NO_ANSWER] += 1
            why = reading.why_unread or _NO_ANSWER
            yield json.dumps({"answer": answer, "read": None, "why": why}, ensure_ascii=False)
        else:
            yield json.dumps({"answer": answer, "read": reading.value, "how": reading.how}, ensure_ascii=False)


def summary_of(unread: Counter[str]) -> str:
    """One line: how many answers are unread, by reason, the commonest first."""
    count = unread[""]
    reasons = [(reason, number) for reason, number in unread.most_common() if reason]
    words = ", ".join(f"{reason} {number}" for reason, number in reasons)
    total = sum(number for _, number in reasons)
    return f"{total} of {count} unread" + (f": {words}" if words else "")


def _read(row: Row) -> tuple[str | None, Reading | None]:
    """The final answer of a response and its reading; no reading for a form that is taken as it is."""
    pairs = parse(row.response).pairs
    if not pairs:
        return None, Reading(None)
    answer = pairs[-1].answer
    read = FORMS[row.task.form].read
    return answer, read(row.task, answer) if read else None
