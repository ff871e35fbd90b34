"""The numbers of workers that users asked of a run, kept in its folder: a run that is resumed has them again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.config.recipe import Recipe

FILE_NAME = "scale.json"


def write_scale(run: Path, counts: Mapping[str, int | None], recipe: Recipe) -> None:
    """Keeps numbers of workers by kind, and those of the recipe that they replace. None leaves a kind as it was.

    Raises:
        OSError: the folder cannot be written.
    """
    asked = _kept(run)
    for kind, count in counts.items():
        if count is not None:
            asked[kind] = {"workers": count, "instead_of": recipe.roles[kind].workers}
    partial = run / f".{FILE_NAME}"
    partial.write_text(json.dumps(asked), encoding="utf-8")
    os.replace(partial, run / FILE_NAME)


def read_scale(run: Path, recipe: Recipe) -> dict[str, int]:
    """The numbers that were asked, by kind; empty if there were none.

    A number that was changed in the recipe since counts as newer.
    """
    counts = {}
    for kind, asked in _kept(run).items():
        role = recipe.roles.get(kind)
        if role and isinstance(asked, dict) and asked.get("instead_of") == role.workers:
            workers = asked.get("workers")
            if type(workers) is int and workers > 0:
                counts[kind] = workers
    return counts


def _kept(run: Path) -> dict[str, Any]:
    """What the file holds; nothing if there is none, or if it is damaged."""
    try:
        kept = json.loads((run / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}
