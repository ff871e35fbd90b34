"""/v1/runs: start runs, watch them, and ask things of them."""

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
from pydantic import BaseModel, ConfigDict, Field

from actors.runtime.remote import RemoteFailure
from cluster.config.recipe_file import parse_recipe
from cluster.control.run_actor import ControlRequest, read_status, send_request
from cluster.errors import UserError
from cluster.record.run_status import GOING
from cluster.service.allowlist import confine, film_below, is_below
from cluster.service.responses import faults
from cluster.service.run_jobs import Conflict, Starter

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
EVENTS_S = 1.0
EXAMPLE = {
    "name": "quickstart",
    "data": {"phantoms": {}},
    "model": {"tiny": {}},
    "stages": [
        {
            "name": "closed",
            "kind": "grpo",
            "tasks": {"binary": 1},
            "gate": {"measure": "closed_accuracy", "every": 10, "max_steps": 50},
        }
    ],
}
STATUS = {
    "run": "quickstart",
    "status": "running",
    "stage": "closed",
    "stage_step": 3,
    "max_steps": 50,
    "step": 47,
    "version": 50,
    "ledger": {"issued": 64, "trained": 56, "dropped": 0, "in_flight": 8},
}
ROW = {"event": "step", "stage": "closed", "kind": "grpo", "step": 47, "stage_step": 3, "version": 50, "reward": 0.61}


class NewRun(BaseModel):
    model_config = ConfigDict(extra="forbid")

    recipe: dict[str, Any] = Field(description="a recipe, as its YAML file would hold it; its root is the service's")
    name: str | None = Field(None, pattern=NAME, description="of the run; the recipe's, with a number, where left out")


class Started(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"run": "quickstart-2", "job": "raysubmit_8Xf2mZcVbqTnLwYk"}]}
    )

    run: str
    job: str = Field(description="the Ray job, of which the dashboard has the log")


class Scale(BaseModel):
    """How many workers from the next step on; what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"rollout": 4}]})

    rollout: int | None = Field(None, ge=1, le=10_000)
    reward: int | None = Field(None, ge=1, le=10_000)


class ControlAnswer(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"run": "quickstart", "asked": "pause"}]})

    run: str
    asked: str = Field(description="is granted after the step that the run is at")


class Status(BaseModel):
    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [STATUS]})

    run: str
    status: str


class Metrics(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"rows": [ROW]}]})

    rows: list[dict[str, Any]] = Field(description="one for each step and each evaluation; `event` tells them apart")


router = APIRouter(prefix="/v1/runs", tags=["runs"])
operate = APIRouter(prefix="/v1/runs", tags=["runs"])


def find(request: Request, name: str) -> Path:
    """The folder of a run below the service's root, whose name can be nothing but a folder's."""
    path = request.app.state.root / name
    if re.fullmatch(NAME, name) and _is_run(path, request):
        return path
    if name in request.app.state.starter.waiting():
        raise HTTPException(409, f"run {name} has no folder yet; GET /v1/runs/{name} tells how it stands")
    raise HTTPException(404, f"no run {name!r:.120}; GET /v1/runs lists them")


def _is_run(path: Path, request: Request) -> bool:
    """A link that leads out of what the service may use is none."""
    return (path / "recipe.yaml").is_file() and is_below(str(path), request.app.state.allowed)


Run = Annotated[Path, Depends(find)]
MISSING = faults({404: "no such run", 409: "the run has not begun yet"})
_GONE = MISSING | faults(
    {409: "the run does not go on now, or a quota is used up", 503: "the run, or the cluster, does not answer"}
)
_EVENT = f"event: status\ndata: {json.dumps(STATUS)}\n\nevent: metrics\nid: 12\ndata: {json.dumps(ROW)}\n\n"


@router.get("", response_model=list[Status])
def list_runs(request: Request) -> Any:
    """All runs of the service's root, the newest first."""
    starter: Starter = request.app.state.starter
    folders = [
        path.parent
        for path in request.app.state.root.glob("*/recipe.yaml")
        if re.fullmatch(NAME, path.parent.name) and _is_run(path.parent, request)
    ]
    begun = [status_of(path, starter) for path in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)]
    return [told for name in starter.waiting() if (told := starter.told(name))] + begun


@router.get("/{name}", response_model=Status, responses=faults({404: "no such run"}))
def status(request: Request, name: str) -> Any:
    """How a run stands: stage, step, version, workers by state, ledger, throughput, staleness."""
    starter: Starter = request.app.state.starter
    if name in starter.waiting() and (told := starter.told(name)):
        return told
    return status_of(find(request, name), starter)


@router.get("/{name}/metrics", response_model=Metrics, responses=MISSING)
def metrics(run: Run, after: Annotated[int, Query(ge=-1, description="only rows of later steps")] = -1) -> Any:
    """The numbers of every step and evaluation, as far as they are written."""
    return {"rows": _rows(run, after)}


@router.get(
    "/{name}/events",
    responses=MISSING | {200: {"content": {"text/event-stream": {"example": _EVENT}}}},
    response_class=StreamingResponse,
)
async def events(
    request: Request,
    run: Run,
    last_event_id: Annotated[
        int, Header(ge=0, description="the id of the last `metrics` that was read, which browsers send by themselves")
    ] = 0,
) -> Any:
    """Server-sent events while a run goes on: `status` whenever it changes, `metrics` for every step and evaluation, those that
    were made before at first. The stream ends with the run."""
    return StreamingResponse(
        _events(run, request.app.state.starter, last_event_id),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


@router.get(
    "/{name}/report",
    response_class=HTMLResponse,
    responses=MISSING
    | faults({409: "nothing was measured yet, or the run has not begun"})
    | {200: {"content": {"text/html": {"example": "<!DOCTYPE html>…"}}}},
)
def report(request: Request, run: Run) -> Any:
    """What was learnt, curves, answers before and after, as one page; made anew."""
    from cluster.reporting.report import report_page

    try:
        return HTMLResponse(report_page(run, film_below(request.app.state.allowed)).encode("utf-8", "replace"))
    except UserError as error:
        raise HTTPException(409, str(error)) from error


@operate.post(
    "",
    status_code=201,
    response_model=Started,
    responses=faults({409: "the name is taken, or the token's quota is used up", 503: "the cluster takes no job"}),
)
def start(
    request: Request, new: Annotated[NewRun, Body(openapi_examples={"tiny": {"value": {"recipe": EXAMPLE}}})]
) -> Any:
    """Start a run, as a Ray job."""
    try:
        recipe = parse_recipe(new.recipe | {"root": str(request.app.state.root)}, "recipe")
        confine(recipe, request.app.state.allowed)
    except UserError as error:
        raise HTTPException(422, str(error)) from error
    if not re.fullmatch(NAME, recipe.name):
        raise HTTPException(422, f"recipe: name: at most 100 characters, found {len(recipe.name)}")
    with _conflicts_told():
        run, job = request.app.state.starter.start(recipe, new.name, request.state.token)
    return {"run": run, "job": job}


@operate.post("/{name}/scale", status_code=202, response_model=ControlAnswer, responses=_GONE)
def scale(request: Request, run: Run, counts: Scale) -> Any:
    """Change the number of workers while the run goes on, within the quota of the token that started it."""
    if counts.rollout is None and counts.reward is None:
        raise HTTPException(422, "give rollout, reward or both")
    with _conflicts_told(), request.app.state.starter.growing(run, counts.model_dump()):
        return _ask(run, ControlRequest("scale", counts.rollout, counts.reward))


@operate.post("/{name}/{what}", status_code=202, response_model=ControlAnswer, responses=_GONE)
def wish(request: Request, run: Run, what: Literal["pause", "resume", "checkpoint", "stop"]) -> Any:
    """Let a run wait, go on, commit, or commit and end, after its present step. A run that has ended is resumed as a new job."""
    if what == "resume" and read_status(run)["status"] not in (*GOING, "finished"):
        with _conflicts_told():
            return {
                "run": run.name,
                "asked": f"resume, as job {request.app.state.starter.resume(run, request.state.token)}",
            }
    return _ask(run, ControlRequest(what))


@contextmanager
def _conflicts_told() -> Iterator[None]:
    try:
        yield
    except Conflict as error:
        raise HTTPException(409, str(error)) from error
    except UserError as error:
        raise HTTPException(503, str(error)) from error


def _ask(run: Path, wish: ControlRequest) -> dict[str, str]:
    try:
        send_request(run, wish)
    except UserError as error:
        raise HTTPException(409, str(error)) from error
    except RemoteFailure as error:
        raise HTTPException(503, str(error)) from error
    return {"run": run.name, "asked": wish.action}


def status_of(run: Path, starter: Starter) -> dict[str, Any]:
    """As `read_status`, in words where the folder is damaged; a run that is being resumed does not say so itself at first."""
    try:
        told = read_status(run)
        return _finite(told if told["status"] in (*GOING, "finished") else told | starter.told(run.name))
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
    """Without numbers that JSON has no words for."""
    if isinstance(values, dict):
        return {name: _finite(value) for name, value in values.items()}
    return None if isinstance(values, float) and not math.isfinite(values) else values


async def _events(run: Path, starter: Starter, sent: int) -> AsyncIterator[str]:
    """From the metrics' row number `sent` on."""
    told: dict[str, Any] = {}
    written = 0.0
    while True:
        now = await asyncio.to_thread(status_of, run, starter)
        if {**now, "told_at": 0} != {**told, "told_at": 0}:
            told = now
            yield f"event: status\ndata: {json.dumps(now)}\n\n"
        file = run / "metrics.parquet"
        if file.is_file() and (changed := file.stat().st_mtime) != written:
            written, rows = changed, await asyncio.to_thread(_rows, run, -1)
            # A run that went back to a commit has forgotten rows, and tells the steps that it makes again.
            for sent in range(min(sent, len(rows)), len(rows)):
                yield f"event: metrics\nid: {sent + 1}\ndata: {json.dumps(rows[sent])}\n\n"
            sent = len(rows)
        if now["status"] not in GOING:
            return
        await asyncio.sleep(EVENTS_S)
