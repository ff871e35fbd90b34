"""A rule that pays for reading a film in a set order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from curriculum.task import Task
from rewards.reading.answers import read_marks
from rewards.reading.parser import parse
from rewards.verdict import Verdict


def stage_order(task: Task, response: str, verdict: Verdict, *, stages: Sequence[str]) -> float:
    """How well the steps follow the stages of a reading, in [0, 1] (CXRTrek, arXiv 2505.23143, has eight stages).

    A step belongs to the first of `stages` that its think block or its answer begins with, in any case. The value is
    the share of the stages that occur, times the share of the changes from one stage to another that go forwards.
    """
    starts = [stage.casefold() for stage in stages]
    reading = []
    for pair in parse(response).pairs:
        number = _stage_of(starts, pair.think, read_marks(pair.answer)[0])
        if number is not None:
            reading.append(number)
    if not reading:
        return 0.0
    forwards = [after > before for before, after in pairwise(reading) if before != after]
    order = sum(forwards) / len(forwards) if forwards else 1.0
    return len(set(reading)) / len(starts) * order


def _stage_of(starts: Sequence[str], *texts: str) -> int | None:
    """The number of the first stage that one of the texts begins with."""
    plain = [text.strip().casefold() for text in texts]
    for number, start in enumerate(starts):
        if any(text.startswith(start) for text in plain):
            return number
    return None
