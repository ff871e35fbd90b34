"""The judgement on a recipe's model folder, as commands give it: a fault in one line that names the setting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.model.encode import PromptConfig
from actors.model.families import ModelFamily
from actors.model.folder.files import ModelFolderError
from actors.model.folder.judge import JudgedModel, family_in, judge, only_described, read_config
from cluster.config.recipe import Recipe
from cluster.errors import UserError


@contextmanager
def naming(setting: str) -> Iterator[None]:
    """Turns a fault of a model folder into a UserError that names the setting which gave the folder."""
    try:
        yield
    except ModelFolderError as error:
        raise UserError(f"{setting}: {error}") from error


def check_model(folder: Path, setting: str, prompt: PromptConfig) -> JudgedModel:
    """Judges a model folder before anything starts. Raises UserError, which names `setting`."""
    with naming(setting):
        return judge(folder, prompt)


def model_family(folder: Path, setting: str) -> ModelFamily:
    """The family of a model folder. Raises UserError, which names `setting`."""
    with naming(setting):
        return family_in(folder, read_config(folder))


def remarks_on_model(recipe: Recipe) -> tuple[str, ...]:
    """Judges the folder of a recipe's model; a tiny model has none yet.

    Returns:
        What works and should be known, a line each.

    Raises:
        UserError: the model cannot be trained.
    """
    if recipe.model.path is None:
        return ()
    return check_model(recipe.model.folder, "model.path", recipe.prompt_config).remarks


def remarks_for_plan(recipe: Recipe) -> tuple[str, ...]:
    """As `remarks_on_model`; but a folder with a configuration alone is enough for a plan, and not judged."""
    if recipe.model.path is not None and only_described(recipe.model.folder):
        return ()
    return remarks_on_model(recipe)
