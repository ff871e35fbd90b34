"""What must be there before a run starts: the tasks and the model folder, both checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

from actors.model.check_tokens import FittingSettings, TokenBudget, check_tokens
from actors.model.encode import TEXT_ONLY
from actors.model.tiny_model import TinyModelConfig, make_tiny_model
from actors.rollout.config import RolloutConfig
from actors.rollout.vllm_engine import CAUSAL_ON_CPU
from cluster.config.recipe import Recipe
from cluster.errors import UserError
from cluster.planning.model_check import check_model, model_family
from cluster.planning.model_shape import trained_parameters
from curriculum.check import check_tasks
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.stages import GATE_FORMS
from curriculum.task import Split, Task
from curriculum.taskset import FILE_NAME, TaskRow, TaskSetError, read_tasks, write_tasks
from rewards.custom_rules import RuleError, check_own

Seeded = TypeVar("Seeded", PhantomConfig, TinyModelConfig)


@dataclass(frozen=True)
class Prepared:
    """The tasks of every split, the folder of the model to start from, and how many bad rows were dropped, by kind."""

    tasks: dict[Split, list[Task]]
    model: Path
    dropped: Counter[str]


def prepare(recipe: Recipe, folder: Path, say: Callable[[str], None] = lambda line: None) -> Prepared:
    """Draws the tasks, or reads and checks them; makes or checks the model. Drawn tasks are right by construction.

    Args:
        say: is told what takes long.

    Raises:
        UserError: the task set has a bad row and the recipe does not drop them, the model folder cannot be used, or a
            rule of the recipe's own cannot be found; one line says why.
    """
    try:
        check_own(recipe.reward.rules.own)
    except RuleError as error:
        raise UserError(str(error)) from error
    dropped: Counter[str] = Counter()
    if recipe.data.phantoms is not None:
        tasks = _by_split(recipe, _phantoms(_seeded(recipe.data.phantoms, recipe), folder / "data"))
        model = model_folder(recipe, folder, tasks["train"], say)
        check_model(model, "model.path", recipe.prompt_config)
        check_images(model, "model.path", chain(*tasks.values()), recipe.rollout)
        return Prepared(tasks, model, dropped)
    assert recipe.data.tasks is not None  # the recipe gives exactly one of both
    try:
        rows = _usable(recipe, check_tasks(recipe.data.tasks, again=False), dropped)
    except TaskSetError as error:
        raise UserError(f"data.tasks: {error}") from error
    model = model_folder(recipe, folder, _by_split(recipe, _tasks(rows))["train"], say)
    encoder = check_model(model, "model.path", recipe.prompt_config).encoder
    budget = token_budget(recipe)
    fitting = FittingSettings(encoder, budget)
    rows = _usable(recipe, fitting.counted(check_tokens(rows, encoder, budget)), dropped, fitting)
    if fitting.words():
        say(fitting.words())
    check_images(model, "model.path", _tasks(rows), recipe.rollout)
    return Prepared(_by_split(recipe, _tasks(rows)), model, dropped)


def token_budget(recipe: Recipe) -> TokenBudget:
    """What the recipe leaves to prompts and gold traces."""
    supervised = (stage for stage in recipe.stages if stage.teaches_from_gold)
    taught = frozenset(family for stage in supervised for family in stage.mixture)
    return TokenBudget(
        recipe.rollout.max_model_tokens, recipe.rollout.max_response_tokens, frozenset(recipe.tested_families), taught
    )


def _phantoms(config: PhantomConfig, folder: Path) -> list[Task]:
    if not (folder / FILE_NAME).is_file():  # a resumed run has it
        write_tasks(draw_phantom_set(config, folder), folder)
    return read_tasks(folder)


def _usable(
    recipe: Recipe, rows: Iterable[TaskRow], dropped: Counter[str], fitting: FittingSettings | None = None
) -> list[TaskRow]:
    """The rows without fault. `dropped` counts bad rows by the kind of their first fault, if the recipe drops them."""
    good: list[TaskRow] = []
    first: TaskRow | None = None
    bad = 0
    for row in rows:
        if not row.faults:
            good.append(row)
            continue
        first = first or row
        bad += 1
        dropped[row.faults[0].kind] += 1
    if first and not recipe.data.drop_bad_rows:
        more = f" (and {bad - 1:,} more bad rows)" if bad > 1 else ""
        fits = fitting.words() if fitting else ""
        raise UserError(
            f"data.tasks: {recipe.data.tasks}: {first.describe(first.faults[0])}{more}. All are shown by `curlvpr "
            f"data check {recipe.data.tasks} --recipe …`; data.drop_bad_rows=true trains without them"
            + (f"; {fits}" if fits else "")
        )
    return good


def _tasks(rows: Iterable[TaskRow]) -> list[Task]:
    return [row.task for row in rows if row.task is not None]


def _by_split(recipe: Recipe, tasks: Iterable[Task]) -> dict[Split, list[Task]]:
    by_split: dict[Split, list[Task]] = {"train": [], "val": [], "test": []}
    for task in tasks:
        by_split[task.split].append(task)
    _check_families(recipe, by_split)
    return by_split


def _check_families(recipe: Recipe, tasks: dict[Split, list[Task]]) -> None:
    tested = recipe.tested_families
    present = {split: {task.family for task in of_split} for split, of_split in tasks.items()}
    for stage in recipe.stages:
        for family in stage.mixture:
            for split, families in present.items():
                if family not in families:
                    raise UserError(
                        f"stages.{stage.name}.tasks: the {split} split has no task of family {family!r}; "
                        f"it has {', '.join(sorted(families)) or 'no tasks'}"
                    )
        measure = stage.gate.measure
        if not any(task.form == GATE_FORMS[measure] and task.family in tested for task in tasks["val"]):
            raise UserError(
                f"stages.{stage.name}.gate.measure: {measure} is of tasks whose answers are "
                f"{GATE_FORMS[measure]}; none of the families that are asked has such in val: {', '.join(tested)}"
            )
        if stage.teaches_from_gold:
            bare = next((t for t in tasks["train"] if t.family in stage.mixture and not t.reference), None)
            if bare:
                raise UserError(
                    f"stages.{stage.name}: {stage.kind} learns from gold traces, and train task {bare.id!r} "
                    "has none in its column 'reference'"
                )


def model_folder(
    recipe: Recipe, folder: Path, train: Iterable[Task], say: Callable[[str], None] = lambda line: None
) -> Path:
    """The recipe's model folder, or a tiny model made in `folder`/base, whose tokenizer is trained on the train tasks.

    Raises:
        UserError: there is no such folder, or the model lacks a part to be trained or frozen.
    """
    tiny = recipe.model.tiny
    path = folder / "base" if recipe.model.path is None else recipe.model.folder
    if tiny is None:
        model_family(path, "model.path")
    trained_parameters(recipe.model, recipe.learner, 0)  # before a learner is started that could not train it
    if tiny is None or (path / "processor_config.json").is_file():  # written last; a resumed run has it
        return path
    return make_tiny_model(_seeded(tiny, recipe), _texts(recipe, train), path, say)


def check_images(path: Path, setting: str, tasks: Iterable[Task], rollout: RolloutConfig) -> None:
    """Checks that the model and its engine can read the tasks' images. Raises UserError, which names `setting`."""
    if not any(task.images for task in tasks):
        return
    family = model_family(path, setting)
    if not family.reads_images:
        raise UserError(f"{setting}: {path}: {TEXT_ONLY}, and these tasks have images")
    if family.bidirectional_images and not rollout.gpus:
        raise UserError(f"{setting}: {path}: {CAUSAL_ON_CPU}; give the rollout workers GPUs (rollout.gpus)")


def _texts(recipe: Recipe, tasks: Iterable[Task]) -> Iterator[str]:
    yield recipe.prompt.system
    for task in tasks:
        yield task.question
        yield from (f"{letter}) {text}" for letter, text in task.options.items())
        yield task.reference or ""


def _seeded(config: Seeded, recipe: Recipe) -> Seeded:
    return config.model_copy(update={"seed": config.seed + recipe.seed})
