"""Groups that are measured separately: strata of tasks, and findings by their frequency."""

from __future__ import annotations

from collections.abc import Sequence

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


def train_shares(train: Sequence[Task]) -> dict[str, float]:
    """Each finding's share of the train films, from the tasks whose gold names the findings of the film."""
    shown: dict[tuple[str, ...], set[str]] = {}
    for task in train:
        if task.form == "names":
            shown.setdefault(task.images, set()).update(map(canonical, task.gold))
    names = sorted(set().union(*shown.values()))
    return {name: sum(name in findings for findings in shown.values()) / len(shown) for name in names}


def frequency_group(share: float) -> str:
    """ "head", "medium" or "tail"."""
    if share > HEAD:
        return "head"
    return "tail" if share < TAIL else "medium"
