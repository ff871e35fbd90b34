"""What must stand before a run starts: the tasks and the model folder, both checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.tiny_model import make_tiny_model
from curriculum.images import ImageError, check_image
from curriculum.phantom_set import draw_phantom_set
from curriculum.task import Split, Task
from curriculum.taskset import FILE_NAME, TaskSetError, read_tasks, write_tasks

from .errors import UserError
from .recipe import Recipe

MODEL_FILES = (  # what each part may be called
    (("config.json",), "the model's configuration"),
    (("tokenizer_config.json",), "its tokenizer"),
    (("processor_config.json", "preprocessor_config.json"), "its image processor"),
)


@dataclass(frozen=True)
class Prepared:
    """The tasks of every split and the folder of the model to start from."""

    tasks: dict[Split, list[Task]]
    model: Path


def prepare(recipe: Recipe, folder: Path) -> Prepared:
    """Draws or reads the tasks, makes or checks the model.

    Raises:
        UserError: the task set or the model folder cannot be used; one line says why.
    """
    tasks = _tasks(recipe, folder)
    by_split: dict[Split, list[Task]] = {split: [t for t in tasks if t.split == split] for split in ("train", "val", "test")}
    _check_families(recipe, by_split)
    return Prepared(by_split, _model(recipe, folder, by_split["train"]))


def _tasks(recipe: Recipe, folder: Path) -> list[Task]:
    if recipe.data.phantoms is not None:
        if not (folder / "data" / FILE_NAME).is_file():  # a resumed run has it
            write_tasks(draw_phantom_set(_seeded(recipe.data.phantoms, recipe), folder / "data"), folder / "data")
        return read_tasks(folder / "data")
    try:
        tasks = read_tasks(recipe.data.tasks)
    except TaskSetError as error:
        raise UserError(f"data.tasks: {error}") from error
    asked_of = {image: task for task in tasks for image in task.images}
    for path, task in asked_of.items():
        try:
            check_image(path)
        except ImageError as error:
            raise UserError(f"data.tasks: task {task.id!r}: {error}") from error
    return tasks


def _check_families(recipe: Recipe, tasks: dict[Split, list[Task]]) -> None:
    present = {split: {task.family for task in of_split} for split, of_split in tasks.items()}
    for stage in recipe.stages:
        for family in stage.mixture:
            for split, families in present.items():
                if family not in families:
                    raise UserError(f"stages.{stage.name}.tasks: the {split} split has no task of family {family!r}; "
                                    f"it has {', '.join(sorted(families)) or 'no tasks'}")
        if stage.kind == "sft":
            bare = next((t for t in tasks["train"] if t.family in stage.mixture and not t.reference), None)
            if bare:
                raise UserError(f"stages.{stage.name}: sft learns from gold traces, and train task {bare.id!r} "
                                "has none in its column 'reference'")


def _model(recipe: Recipe, folder: Path, train: list[Task]) -> Path:
    if recipe.model.tiny is not None:
        if (folder / "base" / "processor_config.json").is_file():  # written last; a resumed run has it
            return folder / "base"
        texts = [recipe.prompt.system]
        for task in train:
            texts += [task.question, *(f"{letter}) {text}" for letter, text in task.options.items()), task.reference or ""]
        return make_tiny_model(_seeded(recipe.model.tiny, recipe), texts, folder / "base")
    path = recipe.model.path.absolute()
    if not path.is_dir():
        raise UserError(f"model.path: {path}: no such folder")
    for names, what in MODEL_FILES:
        if not any((path / name).is_file() for name in names):
            raise UserError(f"model.path: {path} has no {' or '.join(names)} ({what}); a Hugging Face folder saved with "
                            "model.save_pretrained and processor.save_pretrained is needed")
    return path


def _seeded(config, recipe: Recipe):
    return config.model_copy(update={"seed": config.seed + recipe.seed})
