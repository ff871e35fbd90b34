"""What a service may use of the machines that it runs on: the folders, URIs and modules of rules that it was started with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.config.recipe import Recipe
from cluster.errors import UserError
from cluster.reporting.report import Film, film_of
from curriculum.taskset import task_file

RULES = "rules:"  # before the name of a module or package of rules, in what is allowed
OWN = "rewards.own"  # whose rules anybody may name


def confine(recipe: Recipe, allowed: Sequence[str]) -> None:
    """Raises UserError where a recipe, or the tasks that it names, would use something that is not allowed."""
    for key, place in (
        ("data.tasks", recipe.data.tasks),
        ("model.path", recipe.model.path),
        ("checkpoint.storage", recipe.checkpoint.storage),
    ):
        if place is not None and not is_below(str(place), allowed):
            raise UserError(f"recipe: {key}: {place} is outside of what this service may use: {_told(allowed)}")
    modules = [OWN, *(place.removeprefix(RULES) for place in allowed if place.startswith(RULES))]
    for name, own in recipe.reward.rules.own.items():
        module = own.rule.partition(":")[0]
        if not any(module == one or module.startswith(f"{one}.") for one in modules):
            raise UserError(
                f"recipe: reward.rules.own.{name}: rules of {module} are none that this service may use: "
                f"{', '.join(modules)}; it is started with --allow {RULES}MODULE for others"
            )
    if recipe.data.tasks is not None:
        _confine_images(recipe.data.tasks, allowed)


def _confine_images(tasks: Path, allowed: Sequence[str]) -> None:
    """Of a file that cannot be read, the run itself says what is wrong."""
    file = task_file(tasks)
    if not is_below(str(file), allowed):
        raise UserError(f"recipe: data.tasks: {file} leads outside of what this service may use: {_told(allowed)}")
    folders: dict[Path, bool] = {}  # few, for many films; a film that is a link itself is found when it is to be shown
    try:
        for batch in pq.ParquetFile(file).iter_batches(columns=["images"]):
            for image in batch.column(0).flatten().to_pylist():
                path = file.parent / str(image)
                if path.parent not in folders:
                    folders[path.parent] = is_below(str(path.parent), allowed)
                if not folders[path.parent]:
                    raise UserError(
                        f"recipe: data.tasks: a task's image, {image}, is outside of what this service may use: "
                        f"{_told(allowed)}"
                    )
    except (OSError, ValueError, KeyError, AttributeError, pa.ArrowException):
        return


def film_below(allowed: Sequence[str]) -> Film:
    """As `film_of`, but only films in the folders that are allowed are shown."""

    def film(path: str) -> tuple[str | None, str]:
        if is_below(path, allowed):
            return film_of(path)
        return None, f"{path} is outside of what this service may show; it is started with --allow FOLDER for that"

    return film


def is_below(place: str, allowed: Sequence[str]) -> bool:
    """Whether a path, its links followed, or a URI is one of the folders or in one. A URI's query must be the folder's."""
    return any(_below(place, folder) for folder in allowed if not folder.startswith(RULES))


def _below(place: str, folder: str) -> bool:
    if "://" in place or "://" in folder:
        (place, _, how), (folder, _, wanted) = place.partition("?"), folder.partition("?")
        return (
            how == wanted and not re.search(r"\.\.|[%#\\]", place) and f"{place}/".startswith(folder.rstrip("/") + "/")
        )
    try:
        return Path(place).is_absolute() and Path(place).resolve().is_relative_to(Path(folder).resolve())
    except (OSError, ValueError, RuntimeError):  # too long, holds a zero byte, a ring of links
        return False


def _told(allowed: Sequence[str]) -> str:
    return ", ".join(place for place in allowed if not place.startswith(RULES))
