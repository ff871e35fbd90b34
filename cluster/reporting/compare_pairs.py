"""Compares the newest tests of several runs answer by answer: each later run minus the first, on the same tasks."""

from __future__ import annotations

import filecmp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.errors import error_line
from cluster.measures import Result, Scores
from cluster.record.run_reader import TASK_SET_FAULTS, Estimate, RunRecord
from curriculum.task import Task
from rewards.verdict import Verdict

_QUESTION = ("domain", "family", "question", "options", "captions", "context", "form", "gold")


class NotComparable(ValueError):
    """The runs have no tasks in common to compare them on. One line says why."""


@dataclass(frozen=True)
class Paired:
    """Differences on the tasks that all runs were tested on.

    Attributes:
        tasks, patients: how many these are.
        tested: how many tasks each run was tested on.
        differences: for each run after the first, its measures minus the first's (paired bootstrap over patients).
    """

    tasks: int
    patients: int
    tested: list[int]
    differences: list[dict[str, Estimate]]


def pair(records: Sequence[RunRecord], labels: Sequence[str]) -> Paired:
    """Compares the newest test of each run with that of the first. Answers count as their own run scored them.

    Args:
        labels: what to call the runs in errors.

    Raises:
        NotComparable: a run has no test, a task set is gone, or the runs were tested on different tasks.
    """
    answers = [_newest_answers(record, label) for record, label in zip(records, labels, strict=True)]
    common = [id for id in answers[0] if all(id in own for own in answers)]
    if not common:
        raise NotComparable("the runs were tested on different tasks: no task was asked of all of them")
    sets = [_tasks(record, common, label) for record, label in zip(records, labels, strict=True)]
    first = sets[0]
    for own, label in zip(sets[1:], labels[1:], strict=True):
        other = [id for id in common if not _same(first[id], own[id], label)]
        if other:
            raise NotComparable(
                f"the runs have different task sets: of the {len(common)} task ids that all were tested on, "
                f"{len(other)} are other questions or films in {label} than in {labels[0]} (such as {other[0]})"
            )
    resamples = records[0].recipe.get("evaluation", {}).get("bootstrap", 1000)
    scores = [
        Scores([_result(first[id], own[id], label) for id in common], resamples)
        for own, label in zip(answers, labels, strict=True)
    ]
    differences = [{name: Estimate(*ends) for name, ends in own.gain_over(scores[0]).items()} for own in scores[1:]]
    return Paired(len(common), int(scores[0].units.max()) + 1, [len(own) for own in answers], differences)


def _newest_answers(record: RunRecord, label: str) -> dict[str, dict[str, Any]]:
    try:
        answers = record.answers(record.tests[-1].version) if record.tests else {}
    except (KeyError, TypeError) as error:
        raise NotComparable(f"evaluations.jsonl of {label} cannot be read ({error_line(error)})") from error
    if not answers:
        raise NotComparable(f"{label} has no test answers yet")
    return answers


def _tasks(record: RunRecord, ids: Sequence[str], label: str) -> dict[str, Task]:
    try:
        tasks = record.tasks(ids)
    except TASK_SET_FAULTS as error:
        raise NotComparable(f"the task set of {label} cannot be read ({' '.join(str(error).split())})") from error
    if len(tasks) < len(ids):
        raise NotComparable(f"the task set of {label} lost {len(ids) - len(tasks)} of its {len(ids)} tested tasks")
    return tasks


def _same(a: Task, b: Task, label: str) -> bool:
    """Whether two tasks of the same id have the same question and films. Raises NotComparable: a film is gone."""
    if any(getattr(a, name) != getattr(b, name) for name in _QUESTION) or len(a.images) != len(b.images):
        return False
    try:
        return all(x == y or filecmp.cmp(x, y, shallow=False) for x, y in zip(a.images, b.images, strict=True))
    except OSError as error:
        raise NotComparable(f"the films of {label} cannot be compared: {error}") from error


def _result(task: Task, row: Mapping[str, Any], label: str) -> Result:
    try:
        return Result(task, row["response"], Verdict.from_dict(row["verdict"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise NotComparable(
            f"evaluations.jsonl of {label}: the answer to {task.id} cannot be read ({error_line(error)})"
        ) from error
