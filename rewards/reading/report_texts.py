"""The two texts that a metric of reports compares: the final answer of a response, and the report of its task."""

from __future__ import annotations

from typing import NamedTuple

from curriculum.task import Task
from rewards.reading.parser import parse


class NoReport(ValueError):
    """A task has no report that an answer can be compared with."""


class ReportTexts(NamedTuple):
    """The final answer of a response, "" if it has none, and the report that it should say the same as."""

    answer: str
    report: str


def report_texts(task: Task, response: str) -> ReportTexts:
    """What to compare. The final answer is that of the last pair, as in the form `text`.

    Raises:
        NoReport: as `report_of`.
    """
    report = report_of(task)
    pairs = parse(response).pairs
    return ReportTexts(pairs[-1].answer.strip() if pairs else "", report)


def report_of(task: Task) -> str:
    """The gold of a task of the form `text`; of another form, a reference that is a report: one without pairs of tags.

    Raises:
        NoReport: the task has neither.
    """
    if task.form == "text":
        return task.gold[0].strip()
    reference = (task.reference or "").strip()
    if reference and not parse(reference).pairs:
        return reference
    raise NoReport(
        f"task {task.id} has no report to compare with: its form is {task.form}, and its reference no report"
    )
