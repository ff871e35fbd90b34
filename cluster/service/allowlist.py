"""The allowlist of a service: the folders, URIs and modules of rules that recipes and pages may use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from cluster.config.recipe import Recipe
from cluster.errors import UserError
from cluster.reporting.report import Film, film_of
from curriculum.sets.parquet import TaskSetError, named_images
from curriculum.taskset import task_files

RULES = "rules:"  # prefix of an entry that allows a module or package of rules
OWN = "rewards.own"  # the module whose rules are always allowed


def check_recipe(recipe: Recipe, allowed: Sequence[str]) -> None:
    """Raises UserError if a recipe, or the tasks that it names, would use something that is not allowed."""
    for key, path in (
        *recipe.data.sets.items(),
        ("model.path", recipe.model.path),
        ("checkpoint.storage", recipe.checkpoint.storage),
        *_other_models(recipe),
    ):
        if path is not None and not is_below(str(path), allowed):
            raise UserError(f"recipe: {key}: {path} is outside what this service may use: {_locations(allowed)}")
    modules = [OWN, *(entry.removeprefix(RULES) for entry in allowed if entry.startswith(RULES))]
    for name, own in recipe.reward.rules.own.items():
        module = own.rule.partition(":")[0]
        if not any(module == other or module.startswith(f"{other}.") for other in modules):
            raise UserError(
                f"recipe: reward.rules.own.{name}: this service may not use rules of {module}, only of "
                f"{', '.join(modules)}; start it with --allow {RULES}MODULE to allow others"
            )
        if own.runtime_env:
            raise UserError(
                f"recipe: reward.rules.own.{name}.runtime_env: this service starts no runtime environments: they "
                "install packages and run code of any kind"
            )
    for setting, path in recipe.data.sets.items():
        _check_set(setting, path, allowed)


def _other_models(recipe: Recipe) -> Iterator[tuple[str, Path | None]]:
    """The folders of teachers and references as the recipe names them, each with its setting."""
    for stage in recipe.stages:
        training = f"stages.{stage.name}.training"
        for teacher in getattr(stage.training, "teacher", ()):
            yield f"{training}.teacher.path", teacher.path
        yield f"{training}.reference_path", getattr(stage.training, "reference_path", None)


def _check_set(setting: str, tasks: Path, allowed: Sequence[str]) -> None:
    """A set that cannot be read passes: the run itself reports what is wrong with it."""
    try:
        files = task_files(tasks)
    except TaskSetError:
        return
    for file in files:
        if not is_below(str(file), allowed):
            raise UserError(f"recipe: {setting}: {file} leads outside what this service may use: {_locations(allowed)}")
        _check_images(setting, file, allowed)


def _check_images(setting: str, file: Path, allowed: Sequence[str]) -> None:
    """Checks folders, which are few, not films, which are many; a film that is a link is checked when it is shown."""
    folders: dict[Path, bool] = {}
    try:
        for images in named_images(file):
            for image in images:
                path = file.parent / image
                if path.parent not in folders:
                    folders[path.parent] = is_below(str(path.parent), allowed)
                if not folders[path.parent]:
                    raise UserError(
                        f"recipe: {setting}: a task's image, {image}, is outside what this service may use: "
                        f"{_locations(allowed)}"
                    )
    except (OSError, ValueError, KeyError, AttributeError, pa.ArrowException):
        return


def film_below(allowed: Sequence[str]) -> Film:
    """As `film_of`, but only for films in allowed folders."""

    def film(path: str) -> tuple[str | None, str]:
        if is_below(path, allowed):
            return film_of(path)
        return None, f"{path} is outside what this service may show; start it with --allow FOLDER to allow it"

    return film


def is_below(location: str, allowed: Sequence[str]) -> bool:
    """Whether a path, with links followed, or a URI is an allowed folder or in one. A URI needs the folder's query."""
    return any(_below(location, folder) for folder in allowed if not folder.startswith(RULES))


def _below(location: str, folder: str) -> bool:
    if "://" in location or "://" in folder:
        uri, _, query = location.partition("?")
        allowed_uri, _, allowed_query = folder.partition("?")
        if query != allowed_query or re.search(r"\.\.|[%#\\]", uri):
            return False
        return f"{uri}/".startswith(allowed_uri.rstrip("/") + "/")
    try:
        return Path(location).is_absolute() and Path(location).resolve().is_relative_to(Path(folder).resolve())
    except (OSError, ValueError, RuntimeError):  # the path is too long, holds a zero byte, or its links form a ring
        return False


def _locations(allowed: Sequence[str]) -> str:
    return ", ".join(entry for entry in allowed if not entry.startswith(RULES))
