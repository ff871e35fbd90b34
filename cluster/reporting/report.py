"""report.html of a run: what was learnt, how the training went, and answers before and after. Reads the run folder alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any

from cluster.measures.headlines import HEADLINES, measure_words
from cluster.record.run_reader import TASK_SET_FAULTS, Estimate, RunRecord, duration
from cluster.reporting.examples import RULE, choose
from cluster.reporting.pages import render, thumbnail, write_page
from cluster.reporting.report_figures import learnt_figures, time_figures, training_figures
from curriculum.images import ImageError

FILE_NAME = "report.html"
Film = Callable[[str], tuple[str | None, str]]
"""A path to (data URI or None, why there is none)."""
_WORST = (  # column of metrics.parquet, its worst end, words, what would be good
    ("logp_diff_max", max, "largest log-probability difference", "rollout and learner mean the same policy: near 0"),
    ("ratio_diff_max", max, "largest difference of a token's probability ratio from 1", "near 0"),
    ("format", min, "lowest format rate of a step", "near 1"),
    ("truncated", max, "largest share of truncated responses", "near 0; else raise rollout.max_response_tokens"),
    ("unscored", max, "largest share of responses that no rule could judge", "0: else a rule crashes or hangs"),
    ("flat_groups", max, "largest share of flat groups", "well below 1: a flat group teaches nothing about the answer"),
    ("entropy", min, "lowest entropy (nats per token)", "above 0: at 0 the model explores no more"),
    ("kl", max, "largest KL to the reference", "small and steady; 0 where the recipe has no KL term"),
)


def write_report(folder: Path, no_images: bool = False) -> Path:
    """Writes `folder`/report.html and returns its path. The run may be finished, failed, or running.

    Args:
        no_images: leave the films out, as `report.images: false` in the recipe does; questions and answers stay.

    Raises:
        UserError: `folder` is no run folder, or nothing was measured yet, or a file of it is damaged.
    """
    path = folder / FILE_NAME
    write_page(path, report_page(folder, None if no_images else film_of))
    return path


def report_page(folder: Path, film: Film | None) -> str:
    """The text of the report. Without `film`, and where the recipe says `report.images: false`, no film is in it.

    Raises:
        UserError: as `write_report`.
    """
    record = RunRecord(folder)
    return render("report.html.j2", **_contents(record, film if record.images else None))


def _contents(record: RunRecord, film: Film | None) -> dict[str, Any]:
    before, after = record.before_and_after
    answers = [record.answers(test.version) if test else {} for test in (before, after)]
    words = (before.words if before else "", after.words if after else "")
    tasks, missing = {}, None
    try:
        tasks = record.tasks(answers[1])
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
        "examples": choose(*answers, tasks, words),
        "rule": RULE,
        "words": words,
        "missing": missing,
        "images": film is not None,
        "film": film,
        "recipe_text": (record.path / "recipe.yaml").read_text(encoding="utf-8"),
    }


def film_of(path: str) -> tuple[str | None, str]:
    """(data URI or None, why there is none)."""
    try:
        return thumbnail(path), ""
    except ImageError as error:
        return None, str(error)


def _measures(record: RunRecord) -> list[tuple[str, list[Estimate | None]]]:
    """Each measure with its value in every test."""
    names = dict.fromkeys(name for test in record.tests for name in test.measures)
    return [(name, [test.measures.get(name) for test in record.tests]) for name in names]


def _worst(record: RunRecord) -> list[tuple[str, str, str, str]]:
    """(what, value, where, what would be good) of the figures that warn first."""
    rows = []
    for column, worst, words, good in _WORST:
        points = record.points(column)
        if points:
            stage, step, value = worst(points, key=lambda point: point[2])
            value = record.summary.get(column, value)  # of all steps, where metrics.parquet lacks the newest
            rows.append(
                (words, f"{value:.1e}" if 0 < value < 0.001 else f"{value:.3f}", f"{stage}, step\u00a0{step}", good)
            )
    return rows
