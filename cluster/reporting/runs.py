"""`curlvpr runs`: a row for every run in a folder, whatever its state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.config.yaml_text import read_yaml
from cluster.control.run_address import find_address
from cluster.errors import UserError, error_line
from cluster.measures.headlines import HEADLINES, measure_words
from cluster.record.run_reader import RunRecord, duration
from cluster.record.run_status import check_run_folder, saved_status
from curriculum.table import Table

ASK_S = 60.0  # for a run that goes on; includes importing and connecting Ray
_AT_ONCE = 8


@dataclass
class RunRow:
    """What is known about a run folder. None stands for unknown.

    Attributes:
        step: of the whole run; `stage_step` of `max_steps` counts within the stage.
        test: the newest test: `stage`, `when`, `version`, and for each headline measure [value, low, high].
        wrote: when one of its files was last written, in seconds since 1970.
        seconds: how long the run has taken so far.
        why: why the run ended.
        fault: what is wrong with the folder.
    """

    name: str
    path: str
    recipe: str | None = None
    status: str | None = None
    stage: str | None = None
    stage_step: int | None = None
    max_steps: int | None = None
    step: int | None = None
    test: dict[str, Any] | None = None
    wrote: float | None = None
    seconds: float | None = None
    why: str | None = None
    fault: str | None = None


def list_runs(root: Path, ask_s: float = ASK_S) -> list[RunRow]:
    """A row for every folder in `root`, the last written first.

    Args:
        ask_s: how long a run that goes on may take to report its status.

    Raises:
        UserError: `root` is no folder, or a run folder itself.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder that holds the run folders, such as runs")
    if (root / "recipe.yaml").is_file():
        raise UserError(f"{root}: is a run folder itself; give the folder that holds it: {root.absolute().parent}")
    environment = dict(os.environ)  # before `find_address` changes it for one cluster
    folders = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # a dead host is noticed only after seconds
        rows = list(pool.map(lambda run: _row(run, environment, ask_s), folders))
    return sorted(rows, key=lambda row: (-(row.wrote or 0.0), row.name))


def runs_table(rows: Sequence[RunRow]) -> Table:
    """The rows in words."""
    columns = ("run", "recipe", "status", "stage", "step", "newest test", "last wrote", "took")
    return Table("", columns, [_cells(row) for row in rows])


def _cells(row: RunRow) -> tuple[str, ...]:
    scores = row.test["measures"] if row.test else {}
    return (
        row.name,
        row.recipe or "",
        "; ".join(part for part in (row.status, row.fault) if part),
        f"{row.stage} {row.stage_step}/{row.max_steps}" if row.stage else "",
        "" if row.step is None else str(row.step),
        ", ".join(f"{measure_words(name)} {value:.3f}" for name, (value, _, _) in scores.items()),
        "" if row.wrote is None else f"{duration(max(0.0, time.time() - row.wrote))} ago",
        "" if row.seconds is None else duration(row.seconds),
    )


def _row(run: Path, environment: Mapping[str, str], ask_s: float) -> RunRow:
    row = RunRow(run.name, str(run))
    try:
        # Users remake pages, and the owner touches its file all the time.
        written = (path for path in run.iterdir() if path.is_file() and path.suffix != ".html" and path.stem != "owner")
        row.wrote = max((path.stat().st_mtime for path in written), default=None)
        _fill(row, run, environment, ask_s)
    except UserError as error:
        row.fault = str(error).removeprefix(f"{run}: ").removeprefix(f"{run}/")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one folder, the others are listed
        row.fault = f"the run folder cannot be read ({error_line(error)})"
    return row


def _fill(row: RunRow, run: Path, environment: Mapping[str, str], ask_s: float) -> None:
    check_run_folder(run)
    recipe = read_yaml((run / "recipe.yaml").read_text(encoding="utf-8"))
    row.recipe = str(recipe["name"])
    status = _status(run, environment, ask_s)
    row.status, row.why, row.seconds = status["status"], status.get("why"), status.get("seconds")
    row.step = status.get("step", status.get("steps"))
    row.stage, row.stage_step, row.max_steps = (status.get(name) for name in ("stage", "stage_step", "max_steps"))
    if not (run / "summary.json").is_file():
        return
    record = RunRecord(run)
    if row.stage is None and record.stages:
        last = record.stages[-1]
        row.stage, row.stage_step, row.max_steps = last.name, last.steps, last.config.gate.max_steps
    if row.seconds is None:
        row.seconds = record.summary["seconds"]["all"]
    if record.tests:
        test = record.tests[-1]
        measures = {name: test.measures[name] for name in HEADLINES if name in test.measures}
        row.test = {
            "stage": test.stage,
            "when": test.when,
            "version": test.version,
            "measures": {name: [estimate.value, estimate.low, estimate.high] for name, estimate in measures.items()},
        }


def _status(run: Path, environment: Mapping[str, str], ask_s: float) -> dict[str, Any]:
    """As `run_actor.read_status`.

    A run that goes on is asked by a process of its own: Ray is connected to one cluster at a time, and may wait long.
    """
    if find_address(run) is None:
        return saved_status(run)
    command = [sys.executable, "-m", "cluster.cli", "status", str(run.absolute()), "--json"]
    try:
        done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=ask_s)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{run}: something answers at its address, but reported no status within {ask_s:g} s"
        ) from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"{run}: its status cannot be read ({last.removeprefix('curlvpr: ')})")
    answers = [line for line in done.stdout.splitlines() if line.startswith("{")]  # Ray may print other lines
    if not answers:
        raise UserError(f"{run}: reported no status")
    return json.loads(answers[-1])
