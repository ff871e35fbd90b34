"""Groups that are measured separately: strata of tasks, and findings by their frequency."""

from __future__ import annotations

from curriculum.sets.task_table import TaskTable
from curriculum.task import Task, age_band
from rewards.findings.canonical import canonical

UNKNOWN = "unknown"
HEAD = 0.1
"""Findings with a larger share of the train films are head findings, as in CXR-LT (arXiv 2310.16112)."""
TAIL = 0.01
"""Findings with a smaller share are tail findings."""


def strata(task: Task) -> dict[str, str]:
    """The stratum of a task by view, sex, age and source; "unknown" if the task set does not say."""
    labels = {"view": task.view, "sex": task.sex, "age": age_band(task.age), "source": task.source}
    return {kind: label or UNKNOWN for kind, label in labels.items()}


def train_shares(train: TaskTable) -> dict[str, float]:
    """Each finding's share of the train films, from the tasks whose gold names the findings of the film."""
    films: dict[tuple[str, ...], int] = {}
    shown: dict[str, set[int]] = {}
    for row in train.where("form", {"names"}).values("images", "gold"):
        film = films.setdefault(tuple(row["images"]), len(films))
        for name in row["gold"]:
            shown.setdefault(name, set()).add(film)
    of_finding: dict[str, set[int]] = {}
    for name, of_name in shown.items():
        of_finding.setdefault(canonical(name), set()).update(of_name)
    return {finding: len(of_finding[finding]) / len(films) for finding in sorted(of_finding)}


def frequency_group(share: float) -> str:
    """ "head", "medium" or "tail"."""
    if share > HEAD:
        return "head"
    return "tail" if share < TAIL else "medium"
