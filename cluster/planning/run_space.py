"""Whether the disks of this machine will do for a run, before it starts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from actors.runtime.environment import MAX_FOLDER, SHORT_FOLDER
from actors.runtime.files import disk_words, existing, size_words
from cluster.config.recipe import Recipe
from cluster.errors import UserError
from cluster.planning.footprint import footprint
from cluster.record.checkpoint import run_storage

ADVICE = "free some, set root to a larger disk, or lower checkpoint.keep or checkpoint.best.keep"


def remarks_on_space(recipe: Recipe, run: Path) -> list[str]:
    """What should be known of the disk that holds the run folder `run`, which may hold a part of the run already.

    Raises:
        UserError: the disk cannot hold the tasks, the models and one commit; or, where the commits go to another
            disk, that one cannot hold one.
    """
    needs = footprint(recipe)
    files = dict(needs.files)
    commits = files.pop("checkpoints")
    logs = files.pop("logs")
    least = sum(files.values()) + (needs.commit if commits else 0)
    whole = sum(files.values()) + commits + logs
    free = shutil.disk_usage(existing(run)).free
    written = _size(run)
    _check_storage(recipe, run, needs.commit)
    if free < least - written:
        raise UserError(
            f"{run}: no room for this run on {disk_words(run)}: its tasks, models and one commit take about "
            f"{size_words(least - written)}; {ADVICE}"
        )
    if free < whole - written:
        return [
            f"little room on {disk_words(run)}: this run may write about {size_words(whole - written)}; when it is "
            f"full, no more checkpoints are written ({ADVICE})"
        ]
    return []


def check_sockets() -> None:
    """Raises UserError: a cluster would be started here, and its sockets would have paths that are too long."""
    folder = os.environ.get("RAY_TMPDIR", "")
    if len(folder) > MAX_FOLDER and os.environ.get("RAY_ADDRESS", "local") == "local":
        raise UserError(
            f"RAY_TMPDIR {folder}: this path has {len(folder)} characters, too many for Ray's sockets below it; name a "
            f"folder of at most {MAX_FOLDER}, such as {SHORT_FOLDER}"
        )


def _check_storage(recipe: Recipe, run: Path, commit: int) -> None:
    if recipe.checkpoint.storage is None:
        return
    place = run_storage(recipe, run)
    free = place.free()
    if free is not None and free < commit and not place.children():
        raise UserError(
            f"checkpoint.storage: no room for a commit, about {size_words(commit)}, on {disk_words(place.path)}; free "
            "some, or name another place"
        )


def _size(folder: Path) -> int:
    """The size of all files below a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
