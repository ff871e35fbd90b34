"""The status of a run by its folder alone. Imports no Ray; `run_actor.read_status` asks the run itself first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cluster.errors import UserError, error_line
from cluster.record.lease import owner_of, wait_for_owner

GOING = ("starting", "waiting", "running", "paused", "stopping")
"""The states of a run that a process holds."""


def check_run_folder(run: Path) -> None:
    """Raises UserError: it is no run folder."""
    if not (run / "recipe.yaml").is_file():
        raise UserError(f"{run}: no run folder; it has no recipe.yaml")


def taken_words(path: Path) -> str:
    """Why a new run cannot have the folder `path`, which exists: what is there, and what to do."""
    is_run = (path / "recipe.yaml").is_file()
    if owner := owner_of(path) if is_run else wait_for_owner(path):  # one that has just been made has no recipe yet
        return f"{path}: is in use, by a run in progress in {owner}; choose another --name"
    if not is_run:
        return f"{path}: exists already, and is no run folder; choose another --name, or remove it"
    return f"{path}: exists already; choose another --name, or go on with the run in it: curlvpr resume {path}"


def saved_status(run: Path) -> dict[str, Any]:
    """The status of a run whose cluster does not answer, by its owner and its summary.

    Raises:
        UserError: the summary is damaged.
    """
    if owner := owner_of(run):
        return {"run": run.name, "status": "starting", "why": f"{owner} has it; its cluster does not answer yet"}
    summary = run / "summary.json"
    if not summary.is_file():
        return {"run": run.name, "status": "not started, or gone before its first step"}
    try:
        kept = json.loads(summary.read_text(encoding="utf-8"))
        gone = {"status": "gone: its process died"} if kept["status"] == "running" else {}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{summary}: cannot be read ({error_line(error)})") from error
    status = {name: kept[name] for name in ("status", "step", "steps", "version", "ledger", "why") if name in kept}
    return {"run": run.name} | status | gone
