"""/v1/runs: start runs, watch them, and control them."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow.parquet as pq
from fastapi import APIRouter, Body, Depends, Header, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from actors.runtime.remote import RemoteFailure
from cluster.config.recipe_file import parse_recipe
from cluster.control.run_actor import ControlRequest, read_status, send_request
from cluster.errors import UserError
from cluster.record.run_status import GOING
from cluster.service.allowlist import check_recipe, film_below, is_below
from cluster.service.responses import error_responses
from cluster.service.routes.runs_schema import (
    EVENTS,
    EXAMPLE,
    NAME,
    ControlAnswer,
    Metrics,
    NewRun,
    Profile,
    Scale,
    Started,
    Status,
)
from cluster.service.run_jobs import Conflict, RunJobs

EVENTS_S = 1.0
NO_RUN = error_responses({404: "no such run", 409: "the run has not begun yet"})
_NOT_CONTROLLED = NO_RUN | error_responses(
    {409: "the run is not in progress, or a quota is used up", 503: "the run, or the cluster, does not answer"}
)
router = APIRouter(prefix="/v1/runs", tags=["runs"])
operate = APIRouter(prefix="/v1/runs", tags=["runs"])


def find_folder(request: Request, name: str) -> Path:
    """The folder of a run below the service's root. A name that is not a plain folder name is never found."""
    path = request.app.state.root / name
    if re.fullmatch(NAME, name) and _is_run(path, request):
        return path
    if name in request.app.state.run_jobs.without_folder():
        raise HTTPException(409, f"run {name} has no folder yet; GET /v1/runs/{name} shows its status")
    raise HTTPException(404, f"no run {name!r:.120}; GET /v1/runs lists them")


def _is_run(path: Path, request: Request) -> bool:
    """Whether the folder holds a run; a link to outside of the allowed folders does not count."""
    return (path / "recipe.yaml").is_file() and is_below(str(path), request.app.state.allowed)


Run = Annotated[Path, Depends(find_folder)]


@router.get("", response_model=list[Status])
def list_runs(request: Request) -> Any:
    """All runs of the service's root, newest first."""
    run_jobs: RunJobs = request.app.state.run_jobs
    folders = [
        path.parent
        for path in request.app.state.root.glob("*/recipe.yaml")
        if re.fullmatch(NAME, path.parent.name) and _is_run(path.parent, request)
    ]
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    statuses = []
    for name in run_jobs.without_folder():
        job_status = run_jobs.status(name)
        if job_status:
            statuses.append(job_status)
    return statuses + [status_of(path, run_jobs) for path in folders]


@router.get("/{name}", response_model=Status, responses=error_responses({404: "no such run"}))
def status(request: Request, name: str) -> Any:
    """The status of a run: stage, step, version, workers by state, ledger, throughput, staleness."""
    run_jobs: RunJobs = request.app.state.run_jobs
    if name in run_jobs.without_folder():
        job_status = run_jobs.status(name)
        if job_status:
            return job_status
    return status_of(find_folder(request, name), run_jobs)


@router.get("/{name}/metrics", response_model=Metrics, responses=NO_RUN)
def metrics(run: Run, after: Annotated[int, Query(ge=-1, description="only rows of later steps")] = -1) -> Any:
    """The numbers of every step and evaluation written so far."""
    return {"rows": _rows(run, after)}


@router.get(
    "/{name}/events",
    responses=NO_RUN | {200: {"content": {"text/event-stream": {"example": EVENTS}}}},
    response_class=StreamingResponse,
)
async def events(
    request: Request,
    run: Run,
    last_event_id: Annotated[
        int, Header(ge=0, description="the id of the last `metrics` event received; browsers send it by themselves")
    ] = 0,
) -> Any:
    """Server-sent events while a run is in progress: `status` whenever it changes, `metrics` for every step and
    evaluation, earlier ones first. The stream ends with the run."""
    return StreamingResponse(
        _events(run, request.app.state.run_jobs, last_event_id),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


@router.get(
    "/{name}/report",
    response_class=HTMLResponse,
    responses=NO_RUN
    | error_responses({409: "nothing was measured yet, or the run has not begun"})
    | {200: {"content": {"text/html": {"example": "<!DOCTYPE html>…"}}}},
)
def report(request: Request, run: Run) -> Any:
    """The report as one page, made from the newest numbers: what was learnt, curves, answers before and after."""
    from cluster.reporting.report import report_page

    try:
        return HTMLResponse(report_page(run, film_below(request.app.state.allowed)).encode("utf-8", "replace"))
    except UserError as error:
        raise HTTPException(409, str(error)) from error


@operate.post(
    "",
    status_code=201,
    response_model=Started,
    responses=error_responses(
        {409: "the name is taken, or the token's quota is used up", 503: "the cluster takes no job"}
    ),
)
def start(
    request: Request, new: Annotated[NewRun, Body(openapi_examples={"tiny": {"value": {"recipe": EXAMPLE}}})]
) -> Any:
    """Start a run, as a Ray job."""
    try:
        recipe = parse_recipe(new.recipe | {"root": str(request.app.state.root)}, "recipe")
        check_recipe(recipe, request.app.state.allowed)
    except UserError as error:
        raise HTTPException(422, str(error)) from error
    if not re.fullmatch(NAME, recipe.name):
        raise HTTPException(422, f"recipe: name: at most 100 characters, found {len(recipe.name)}")
    with _job_errors():
        run, job = request.app.state.run_jobs.start(recipe, new.name, request.state.token)
    return {"run": run, "job": job}


@operate.post("/{name}/scale", status_code=202, response_model=ControlAnswer, responses=_NOT_CONTROLLED)
def scale(request: Request, run: Run, counts: Scale) -> Any:
    """Change the number of workers of a run in progress, within the quota of the token that started it."""
    if counts.rollout is None and counts.reward is None:
        raise HTTPException(422, "give rollout, reward or both")
    with _job_errors():
        request.app.state.run_jobs.scale(run, counts.model_dump())
    return {"run": run.name, "asked": "scale"}


@operate.post("/{name}/profile", status_code=202, response_model=ControlAnswer, responses=_NOT_CONTROLLED)
def profile(run: Run, asked: Profile) -> Any:
    """Record what the learner computes in the next steps. The run's folder gets a trace of each rank."""
    return _send(run, ControlRequest("profile", steps=asked.steps))


@operate.post("/{name}/{action}", status_code=202, response_model=ControlAnswer, responses=_NOT_CONTROLLED)
def control(request: Request, run: Run, action: Literal["pause", "resume", "checkpoint", "stop"]) -> Any:
    """Make a run pause, continue, commit, or commit and end, after its current step. `resume` of a run that has ended
    starts a new job that continues it."""
    if action == "resume" and read_status(run)["status"] not in (*GOING, "finished"):
        with _job_errors():
            job = request.app.state.run_jobs.resume(run, request.state.token)
            return {"run": run.name, "asked": f"resume, as job {job}"}
    return _send(run, ControlRequest(action))


@contextmanager
def _job_errors() -> Iterator[None]:
    """Turns the errors of RunJobs into responses."""
    try:
        yield
    except Conflict as error:
        raise HTTPException(409, str(error)) from error
    except (UserError, RemoteFailure) as error:
        raise HTTPException(503, str(error)) from error


def _send(run: Path, request: ControlRequest) -> dict[str, str]:
    try:
        send_request(run, request)
    except UserError as error:
        raise HTTPException(409, str(error)) from error
    except RemoteFailure as error:
        raise HTTPException(503, str(error)) from error
    return {"run": run.name, "asked": request.action}


def status_of(run: Path, run_jobs: RunJobs) -> dict[str, Any]:
    """As `read_status`, but with the reason if the folder is damaged.

    A run that is being resumed does not report its status at first; then its job does.
    """
    try:
        values = read_status(run)
        if values["status"] not in (*GOING, "finished"):
            values = values | run_jobs.status(run.name)
        return _finite(values)
    except (UserError, ValueError, OSError) as error:
        return {"run": run.name, "status": "unreadable", "why": str(error)}


def _rows(run: Path, after: int) -> list[dict[str, Any]]:
    if not (run / "metrics.parquet").is_file():
        return []
    rows = pq.read_table(run / "metrics.parquet").to_pylist()
    return [
        {name: value for name, value in _finite(row).items() if value is not None}
        for row in rows
        if row["step"] > after
    ]


def _finite(values: Any) -> Any:
    """The values with None for every number that JSON cannot hold."""
    if isinstance(values, dict):
        return {name: _finite(value) for name, value in values.items()}
    return None if isinstance(values, float) and not math.isfinite(values) else values


async def _events(run: Path, run_jobs: RunJobs, sent: int) -> AsyncIterator[str]:
    """Yields server-sent events; the first `sent` rows of the metrics are not sent again."""
    previous: dict[str, Any] = {}
    written = 0.0
    while True:
        current = await asyncio.to_thread(status_of, run, run_jobs)
        if {**current, "told_at": 0} != {**previous, "told_at": 0}:
            previous = current
            yield f"event: status\ndata: {json.dumps(current)}\n\n"
        file = run / "metrics.parquet"
        if file.is_file() and (changed := file.stat().st_mtime) != written:
            written = changed
            rows = await asyncio.to_thread(_rows, run, -1)
            # A run that rolled back to a commit has dropped rows; the steps that it repeats are sent again.
            first = min(sent, len(rows))
            for number, row in enumerate(rows[first:], first + 1):
                yield f"event: metrics\nid: {number}\ndata: {json.dumps(row)}\n\n"
            sent = len(rows)
        if current["status"] not in GOING:
            return
        await asyncio.sleep(EVENTS_S)
