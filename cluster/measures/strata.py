"""Groups to measure apart: strata of tasks, and findings by how frequent they are."""

from __future__ import annotations

from collections.abc import Sequence

from curriculum.task import Task, age_band
from rewards.findings.canonical import canonical

UNKNOWN = "unknown"
HEAD, TAIL = 0.1, 0.01
"""Shares of the train films, as in CXR-LT (arXiv 2310.16112): head above the first, tail below the second."""


def strata(task: Task) -> dict[str, str]:
    """The stratum of a task for each of view, sex, age and source; "unknown" where the set does not tell."""
    told = {"view": task.view, "sex": task.sex, "age": age_band(task.age), "source": task.source}
    return {kind: label or UNKNOWN for kind, label in told.items()}


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
    return "head" if share > HEAD else "tail" if share < TAIL else "medium"
