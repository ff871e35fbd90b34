"""The page at /: runs, curves, workers, newest responses, and buttons. The page is empty; its script calls /v1."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from cluster.errors import UserError
from cluster.record.run_reader import TASK_SET_FAULTS, RunRecord
from cluster.reporting.examples import Answer, answer_of
from cluster.reporting.pages import render
from cluster.reporting.report_figures import Figure, learnt_figures, training_figures
from cluster.service.allowlist import film_below
from cluster.service.routes.runs import NO_RUN, Run, status_of
from curriculum.task import Task

NEWEST = 4  # responses shown
TAIL = 2**18  # bytes at the end of trajectories.jsonl, enough for them

page = APIRouter(include_in_schema=False)
panels = APIRouter(prefix="/v1/runs", tags=["runs"])


@dataclass(frozen=True)
class Newest:
    """A response that was trained on; `task` is None if the task set is gone."""

    id: str
    step: int
    task: Task | None
    answer: Answer


@page.get("/")
def shell() -> HTMLResponse:
    return HTMLResponse(render("service.html.j2"))


@page.get("/page.js")
def script() -> Response:
    return Response(Path(__file__).with_name("dashboard.js").read_text(encoding="utf-8"), media_type="text/javascript")


@panels.get(
    "/{name}/panel",
    response_class=HTMLResponse,
    responses=NO_RUN | {200: {"content": {"text/html": {"example": '<div class="tiles">…</div>'}}}},
)
def panel(request: Request, run: Run) -> Any:
    """A run as the page at / shows it: status, curves, and the newest responses with the verdict on each step."""
    status = status_of(run, request.app.state.run_jobs)
    shown: dict[str, Any] = {"why": status.get("why"), "charts": [], "newest": [], "curriculum": [], "film": None}
    try:
        record, charts = _read(run, _stamp(run))
        shown |= {
            "charts": charts,
            "newest": _newest(record),
            "film": film_below(request.app.state.allowed) if record.images else None,
            "curriculum": _curriculum(record, status.get("stage")),
        }
    except UserError as error:
        shown["why"] = shown["why"] or str(error)
    return HTMLResponse(render("run_panel.html.j2", status=status, **shown))


def _stamp(run: Path) -> tuple[float, ...]:
    """A key for the cache of `_read`; changes whenever its result would."""
    return tuple(
        (run / name).stat().st_mtime if (run / name).exists() else 0.0
        for name in ("metrics.parquet", "summary.json", "recipe.yaml")
    )


@lru_cache(maxsize=16)
def _read(run: Path, stamp: tuple[float, ...]) -> tuple[RunRecord, list[Figure]]:
    record = RunRecord(run)
    return record, learnt_figures(record, None) + training_figures(record)


def _curriculum(record: RunRecord, current: str | None) -> list[tuple[str, str, bool]]:
    """(name, outcome, whether it is the current one) of each stage."""
    ended = {stage.name: f"{stage.steps} steps, by {stage.reason}" for stage in record.stages if stage.reason}
    names = [stage["name"] for stage in record.recipe["stages"]]
    return [(name, ended.get(name, "now" if name == current else "to come"), name == current) for name in names]


def _newest(record: RunRecord) -> list[Newest]:
    path = record.path / "trajectories.jsonl"
    if not path.is_file():
        return []
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        lines = file.read().split(b"\n")
    rows = []
    for line in reversed(lines):
        try:
            rows.append(json.loads(line))
        except ValueError:  # the first may be cut, the last half written
            continue
        if len(rows) == NEWEST:
            break
    try:
        tasks = record.tasks({row["task"] for row in rows})
    except TASK_SET_FAULTS:
        tasks = {}
    return [
        Newest(row["task"], row["step"], tasks.get(row["task"]), answer_of(row, f"step {row['step']}")) for row in rows
    ]
