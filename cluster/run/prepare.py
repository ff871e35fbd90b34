"""What must be there before a run starts: the tasks and the model folder, both checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np

from actors.model.check_tokens import TokenBudget
from actors.model.encode import TEXT_ONLY
from actors.model.tiny_model import TinyModelConfig, make_tiny_model
from actors.rollout.config import RolloutConfig
from cluster.config.recipe import Recipe
from cluster.errors import UserError
from cluster.planning.model_check import check_folder_models, check_model, model_family
from cluster.planning.model_shape import configuration_of, trained_parameters
from cluster.run.evaluation import deciding_tasks, held_out, vetoing_tasks
from cluster.run.task_sources import TaskSources
from cluster.stages.kind import Stage
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.sets.task_table import TaskTable, read_task_table
from curriculum.stages import GATE_FORMS
from curriculum.task import Split, Task
from curriculum.taskset import FILE_NAME, write_tasks
from rewards.custom_rules import RuleError, check_own
from rewards.findings.canonical import canonical

Seeded = TypeVar("Seeded", PhantomConfig, TinyModelConfig)


@dataclass(frozen=True)
class Prepared:
    """The tasks of every split, the folder of the model to start from, and how many bad rows were dropped, by kind."""

    tasks: dict[Split, TaskTable]
    model: Path
    dropped: Counter[str]


def prepare(recipe: Recipe, folder: Path, say: Callable[[str], None] = lambda line: None) -> Prepared:
    """Draws the tasks, or reads and checks them; makes or checks the model. Drawn tasks are right by construction.

    Args:
        say: is told what takes long.

    Raises:
        UserError: the task set has a bad row and the recipe does not drop them, the model folder or another folder that
            a stage names cannot be used, or a rule of the recipe's own cannot be found; one line says why.
    """
    try:
        check_own(recipe.reward.rules.own)
    except RuleError as error:
        raise UserError(str(error)) from error
    if recipe.data.phantoms is not None:
        tasks = _phantoms(_seeded(recipe.data.phantoms, recipe), folder / "data")
        by_split = _by_split(recipe, tasks)
        model = model_folder(recipe, folder, by_split["train"], say)
        check_folder_models(recipe, check_model(model, "model.path", recipe.prompt_config))
        check_images(model, "model.path", True, recipe.rollout)
        return Prepared(by_split, model, Counter())
    sources = TaskSources(recipe, say)
    model = model_folder(recipe, folder, _by_split(recipe, sources.table())["train"], say)
    judged = check_model(model, "model.path", recipe.prompt_config)
    check_folder_models(recipe, judged)
    sources.check_tokens(judged.encoder, token_budget(recipe))
    tasks = sources.table()
    check_images(model, "model.path", bool(tasks.lengths("images").any()), recipe.rollout)
    return Prepared(_by_split(recipe, tasks), model, sources.dropped)


def token_budget(recipe: Recipe) -> TokenBudget:
    """What the recipe leaves to prompts and gold traces."""
    supervised = (stage for stage in recipe.stages if stage.teaches_from_gold)
    taught = frozenset(family for stage in supervised for family in stage.mixture)
    return TokenBudget(
        recipe.rollout.max_model_tokens, recipe.rollout.max_response_tokens, frozenset(recipe.tested_families), taught
    )


def _phantoms(config: PhantomConfig, folder: Path) -> TaskTable:
    if not (folder / FILE_NAME).is_file():  # a resumed run has it
        write_tasks(draw_phantom_set(config, folder), folder)
    return read_task_table(folder)


def _by_split(recipe: Recipe, tasks: TaskTable) -> dict[Split, TaskTable]:
    by_split = {split: tasks.of_split(split) for split in get_args(Split)}
    _check_families(recipe, by_split)
    return by_split


def _check_families(recipe: Recipe, tasks: Mapping[Split, TaskTable]) -> None:
    if veto := recipe.checkpoint.best.veto:
        measure, families = recipe.checkpoint.best.ranked_by(recipe.stages[-1].gate)
        of_source = vetoing_tasks(recipe, tasks["val"])
        setting = f"checkpoint.best.veto.source: {veto.source}"
        _check_measure(recipe, of_source.where("family", families) if families else of_source, setting, measure)
    tasks = {**tasks, "val": deciding_tasks(recipe, tasks["val"])}
    if recipe.checkpoint.best.measure:
        _check_measure(recipe, tasks["val"], "checkpoint.best.measure", recipe.checkpoint.best.measure)
    for stage in recipe.stages:
        rehearsed = recipe.rehearsable(stage) if stage.forget and stage.forget.do == "rehearse" else {}
        for family in dict.fromkeys([*stage.mixture, *rehearsed]):
            for split, of_split in tasks.items():
                if family not in of_split.families:
                    raise UserError(
                        f"stages.{stage.name}.tasks: the {split} split has no task of family {family!r}; "
                        f"it has {', '.join(sorted(of_split.families)) or 'no tasks'}"
                    )
        drawn = tasks["train"].of_sources(stage.sources) if stage.sources else tasks["train"]
        lacking = next((family for family in (*stage.mixture, *rehearsed) if family not in drawn.families), None)
        if lacking:
            raise UserError(
                f"stages.{stage.name}.sources: {', '.join(stage.sources)} have no train task of family {lacking!r}; "
                f"they have {', '.join(sorted(drawn.families)) or 'no train tasks'}"
            )
        _check_gate(recipe, stage, tasks["val"])
        if stage.teaches_from_gold:
            taught = drawn.where("family", stage.mixture)
            bare = np.flatnonzero(taught.lengths("reference") == 0)
            if len(bare):
                raise UserError(
                    f"stages.{stage.name}: {stage.kind} learns from gold traces, and train task "
                    f"{taught[int(bare[0])].id!r} has none in its column 'reference'"
                )


def _check_gate(recipe: Recipe, stage: Stage, val: TaskTable) -> None:
    gate, path = stage.gate, f"stages.{stage.name}.gate"
    _check_measure(recipe, val, f"{path}.measure", gate.measure)
    for family in gate.families:
        form = GATE_FORMS[gate.measure]
        if family not in recipe.tested_families or not len(val.where("family", {family}).where("form", {form})):
            raise UserError(
                f"{path}.families: {family!r} is no family that is asked and has {form} as answers in val, as "
                f"{gate.measure} needs; asked are {', '.join(recipe.tested_families)}"
            )
    for measure in gate.floors.measures:
        _check_measure(recipe, val, f"{path}.floors.measures", measure)
    if gate.floors.recall:
        _check_measure(recipe, val, f"{path}.floors.recall", "open_micro_f1")
        asked = held_out(val, recipe.tested_families, recipe.evaluation.val_per_family)
        shown = {canonical(name) for task in asked if task.form == "names" for name in task.gold}
        unknown = next((name for name in gate.floors.recall if canonical(name) not in shown), None)
        if unknown:
            raise UserError(
                f"{path}.floors.recall: no open validation task that is asked shows {unknown!r}; they show "
                f"{', '.join(sorted(shown)) or 'no finding'}"
            )


def _check_measure(recipe: Recipe, val: TaskTable, setting: str, measure: str) -> None:
    asked = val.where("family", recipe.tested_families)
    if not len(asked.where("form", {GATE_FORMS[measure]})):
        raise UserError(
            f"{setting}: {measure} is of tasks whose answers are {GATE_FORMS[measure]}; none of the families that are "
            f"asked has such in val: {', '.join(recipe.tested_families)}"
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


def check_images(path: Path, setting: str, images: bool, rollout: RolloutConfig) -> None:
    """Checks that a model and its engine can read tasks, with `images` or without. Raises UserError, which names
    `setting`.
    """
    family = model_family(path, setting)
    if images and not family.reads_images:
        raise UserError(f"{setting}: {path}: {TEXT_ONLY}, and these tasks have images")
    refusal = None if rollout.gpus else family.refused_on_cpu(configuration_of(path, setting), rollout.dtype, images)
    if refusal:
        raise UserError(f"{setting}: {path}: {refusal}; give the rollout workers GPUs (rollout.gpus)")


def _texts(recipe: Recipe, tasks: Iterable[Task]) -> Iterator[str]:
    yield recipe.prompt.system
    for task in tasks:
        yield task.question
        yield from (f"{letter}) {text}" for letter, text in task.options.items())
        yield task.reference or ""


def _seeded(config: Seeded, recipe: Recipe) -> Seeded:
    return config.model_copy(update={"seed": config.seed + recipe.seed})
