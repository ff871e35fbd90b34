"""The judgement on a recipe's model folder, as commands give it: a fault in one line that names the setting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.model.encode import PromptConfig
from actors.model.families import ModelFamily
from actors.model.folder.alike import check_alike
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


def remarks_on_models(recipe: Recipe) -> tuple[str, ...]:
    """As `remarks_on_model`, and the same of the folders of teachers and references.

    Raises:
        UserError: the model cannot be trained, or one of the others cannot score what it writes.
    """
    if recipe.model.path is None:
        return check_folder_models(recipe, None)
    model = check_model(recipe.model.folder, "model.path", recipe.prompt_config)
    return (*model.remarks, *check_folder_models(recipe, model))


def remarks_for_plan(recipe: Recipe) -> tuple[str, ...]:
    """As `remarks_on_models`; but a folder with a configuration alone is enough for a plan, and not judged."""
    own = [] if recipe.model.path is None else [("model.path", recipe.model.folder)]
    described = [(setting, folder) for setting, folder in (*own, *folder_settings(recipe)) if only_described(folder)]
    for setting, folder in described:
        model_family(folder, setting)
    return () if described else remarks_on_models(recipe)


def check_folder_models(recipe: Recipe, model: JudgedModel | None) -> tuple[str, ...]:
    """Judges the folders that stages name, and compares them with the policy.

    Args:
        model: the policy; None if it is not made yet.

    Returns:
        What works and should be known, a line each.

    Raises:
        UserError: one of them cannot be used.
    """
    remarks: list[str] = []
    judged = set[Path]()
    for setting, folder in folder_settings(recipe):
        if folder in judged:
            continue
        judged.add(folder)
        other = check_model(folder, setting, recipe.prompt_config)
        if model is not None:
            with naming(setting):
                remarks += (f"{setting}: {remark}" for remark in check_alike(model, other))
    return tuple(remarks)


def folder_settings(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """The folders that stages name, each with the setting that does."""
    for stage in recipe.stages:
        models = stage.folder_models
        for folder in dict.fromkeys(models.teachers):
            yield f"stages.{stage.name}.training.teacher.path", Path(folder)
        if models.reference:
            yield f"stages.{stage.name}.training.reference_path", Path(models.reference)
