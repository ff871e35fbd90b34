"""report.html of a run: what was learnt, how the training went, and answers before and after.

Reads the run folder alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any

from cluster.measures.headlines import HEADLINES, measure_words
from cluster.outputs import told
from cluster.record.run_reader import TASK_SET_FAULTS, Estimate, RunRecord, duration
from cluster.reporting.examples import RULE, choose
from cluster.reporting.pages import render, thumbnail, write_page
from cluster.reporting.report_figures import learnt_figures, time_figures, training_figures
from cluster.reporting.unread import unread_answers
from curriculum.images import ImageError
from curriculum.task import Task

FILE_NAME = "report.html"
Film = Callable[[str], tuple[str | None, str]]
"""Takes a path; returns (data URI or None, why there is none)."""
_WORST = (  # column of metrics.parquet, its worst end, words, what would be good
    ("logp_diff_max", max, "largest log-probability difference", "rollout and learner mean the same policy: near 0"),
    ("ratio_diff_max", max, "largest difference of a token's probability ratio from 1", "near 0"),
    ("format", min, "lowest format rate of a step", "near 1"),
    ("truncated", max, "largest share of truncated responses", "near 0; else raise rollout.max_response_tokens"),
    ("unscored", max, "largest share of responses that no rule could judge", "0: else a rule crashes or hangs"),
    ("unread", max, "largest share of final answers that could not be read", "near 0; the table below says why"),
    ("flat_groups", max, "largest share of flat groups", "well below 1: a flat group teaches nothing about the answer"),
    ("entropy", min, "lowest entropy (nats per token)", "above 0: at 0 the model no longer explores"),
    ("kl", max, "largest KL to the reference", "small and steady; 0 if the recipe has no KL term"),
    ("teacher_kl", max, "largest KL to the teacher", "at the start of a stage; it should fall from there"),
    ("accepted", min, "lowest share of accepted responses (rejection sampling)", "above 0: else nothing is learnt"),
)


def write_report(folder: Path, no_images: bool = False) -> Path:
    """Writes `folder`/report.html and returns its path. The run may be finished, failed, or running.

    Args:
        no_images: leaves the films out, as `report.images: false` in the recipe does; questions and answers stay.

    Raises:
        UserError: `folder` is no run folder, nothing was measured yet, one of its files is damaged, or the report
            cannot be written.
    """
    path = folder / FILE_NAME
    page = report_page(folder, None if no_images else film_of)
    with told("the report", path):
        write_page(path, page)
    return path


def report_page(folder: Path, film: Film | None) -> str:
    """The text of the report. It has no films without `film`, or if the recipe says `report.images: false`.

    Raises:
        UserError: as `write_report`.
    """
    record = RunRecord(folder)
    return render("report.html.j2", **_contents(record, film if record.images else None))


def _contents(record: RunRecord, film: Film | None) -> dict[str, Any]:
    before, after = record.before_and_after
    answers_before, answers_after = (record.answers(test.version) if test else {} for test in (before, after))
    words = (before.words if before else "", after.words if after else "")
    tasks: dict[str, Task] = {}
    missing = None
    try:
        tasks = record.tasks(answers_after)
    except TASK_SET_FAULTS as error:
        missing = " ".join(str(error).split())
    closed = [task for task in tasks.values() if task.domain == "closed"]
    guess = mean(task.chance for task in closed) if closed else None
    return {
        "record": record,
        "summary": record.summary,
        "written": datetime.now().astimezone(),
        "duration": duration,
        "headlines": list(HEADLINES),
        "measure_words": measure_words,
        "measures": _measures(record),
        "guess": guess,
        "learnt": learnt_figures(record, guess),
        "training": training_figures(record),
        "times": time_figures(record),
        "worst": _worst(record),
        "unread": unread_answers(record.path),
        "examples": choose(answers_before, answers_after, tasks, words),
        "rule": RULE,
        "words": words,
        "missing": missing,
        "images": film is not None,
        "film": film,
        "recipe_text": (record.path / "recipe.yaml").read_text(encoding="utf-8"),
    }


def film_of(path: str) -> tuple[str | None, str]:
    """Returns (data URI or None, why there is none) for the film at `path`."""
    try:
        return thumbnail(path), ""
    except ImageError as error:
        return None, str(error)


def _measures(record: RunRecord) -> list[tuple[str, list[Estimate | None]]]:
    """Each measure with its value in every test."""
    names = dict.fromkeys(name for test in record.tests for name in test.measures)
    return [(name, [test.measures.get(name) for test in record.tests]) for name in names]


def _worst(record: RunRecord) -> list[tuple[str, str, str, str]]:
    """Rows (number, its worst value, where it was, what would be good) of the numbers that warn first."""
    rows = []
    for column, worst, words, good in _WORST:
        points = record.points(column)
        if points:
            stage, step, value = worst(points, key=lambda point: point[2])
            value = record.summary.get(column, value)  # of all steps; metrics.parquet may lack the newest
            rows.append(
                (words, f"{value:.1e}" if 0 < value < 0.001 else f"{value:.3f}", f"{stage}, step\u00a0{step}", good)
            )
    return rows
