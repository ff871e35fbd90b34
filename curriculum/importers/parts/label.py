"""What a label file says of one film."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from curriculum.task import NO_FINDING
from curriculum.taskset import TaskSetError

Box = tuple[str, float, float, float, float]
"""A finding, and the left, top, right and bottom of a box around it in pixels."""
OTHERS = "another finding"
"""What is unsure in a film for which only some findings were looked for: it may show others, so that neither all its
findings are known nor that it has none."""


@dataclass(frozen=True)
class Label:
    """What a label file says of one film.

    Attributes:
        where: file, row and image, for messages.
        id: differs from every other film's.
        file: the end of the image's path, as many parts of it as distinguish it from other images.
        patient: films of one patient stay in one split.
        findings: those that are present; None if the film was not labelled for findings at all.
        unsure: findings that may be present. What is asked about them, `film_questions` says.
        denied: findings that the labels say to be absent; the others are absent since nothing mentions them.
        unasked: findings that nobody looked for. No question is asked about them.
        split: train, val or test; empty if the set has none.
        provenance: view, sex, age, source, licence and attribution, as far as they are known.
        sections: "findings" and "impression" of the report.
        indication: why the film was taken, in the report's words.
        boxes: findings that are marked on the film.
        phrases: the same for sentences of the report, each in place of a finding.
        size: width and height of the image that the boxes refer to, in the unit of the boxes.
        order: orders a patient's films in time; progression is asked between neighbours whose order is known.
    """

    where: str
    id: str
    file: str
    patient: str
    findings: tuple[str, ...] | None = None
    unsure: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()
    split: str = ""
    provenance: Mapping[str, object] = field(default_factory=dict)
    sections: Mapping[str, str] = field(default_factory=dict)
    indication: str = ""
    boxes: tuple[Box, ...] = ()
    phrases: tuple[Box, ...] = ()
    size: tuple[float, float] = (0, 0)
    order: float | None = None


def check_findings(where: str, findings: Sequence[str], healthy: bool, vocabulary: Sequence[str]) -> None:
    """Raises TaskSetError unless the film has either no finding or some of the vocabulary, each once."""
    if stray := [name for name in findings if name not in vocabulary]:
        raise TaskSetError(
            f"{where}: {stray[0]!r} is none of the findings; they are {NO_FINDING} or {', '.join(vocabulary)}"
        )
    if healthy == bool(findings) or len(set(findings)) < len(findings) or len(findings) == len(vocabulary):
        raise TaskSetError(
            f"{where}: labels {list(findings)} with no-finding {healthy}; "
            "a film has either no finding or some of them, each once"
        )


def listed_findings(cell: str, where: str) -> tuple[str, ...]:
    """The findings that a cell lists, with "|", ";" or a comma between them; none for "No finding".

    Raises:
        TaskSetError: a name is empty or there twice, or "No finding" stands beside others.
    """
    names = tuple(" ".join(name.split()) for name in re.split(r"[|;,]", cell))
    healthy = [name.casefold() == NO_FINDING.casefold() for name in names]
    if not all(names) or len(set(names)) < len(names) or (any(healthy) and len(names) > 1):
        raise TaskSetError(
            f"{where}: labels {cell!r:.60}; findings separated by |, each once, or {NO_FINDING!r} alone, are needed"
        )
    return () if healthy[0] else names


def read_number(where: str, name: str, text: str) -> float:
    """The number in a cell.

    Raises:
        TaskSetError: it is no finite number.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise TaskSetError(f"{where}: {name} is {text!r:.40}; a number is needed")
    return number


def read_age(value: object) -> float | None:
    """Years, from a text such as 58 or NIH's 058Y; None if it is missing or above 120 (NIH has a few such ages)."""
    text = str(value).strip().upper().removesuffix("Y")
    if not text.replace(".", "", 1).isdecimal():
        return None
    return float(text) if float(text) <= 120 else None
