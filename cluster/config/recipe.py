"""A recipe: the whole configuration of a run as one typed tree, read from YAML and overridden by `--set a.b=c`."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import yaml
from pydantic import BaseModel, Field, PositiveInt, ValidationError, model_validator

from actors.algorithm.config import GrpoTraining, SftTraining
from actors.learner.config import LearnerConfig
from actors.model.encode import PromptConfig
from actors.model.tiny_model import TinyModelConfig
from actors.reward import RewardWorkersConfig
from actors.rollout.config import RolloutConfig
from cluster.config.credentials import find_credential
from cluster.config.guards import DEFAULT, Guard
from cluster.errors import UserError
from curriculum.phantoms.phantom_set import PhantomConfig
from curriculum.stages import StageConfig
from curriculum.strict import Strict


class DataConfig(Strict):
    """Where the tasks come from: phantoms drawn for the run, or a task set on disk (`curlvpr data import` writes one)."""

    phantoms: PhantomConfig | None = None
    tasks: Path | None = None
    drop_bad_rows: bool = Field(False, description="train without the rows that `curlvpr data check` finds bad")

    @model_validator(mode="after")
    def _one(self) -> "DataConfig":
        return _exactly_one(self, "phantoms", "tasks")


class ModelConfig(Strict):
    """The model to start from: a tiny one made on the spot, or a Hugging Face folder."""

    tiny: TinyModelConfig | None = None
    path: Path | None = None

    @model_validator(mode="after")
    def _one(self) -> "ModelConfig":
        return _exactly_one(self, "tiny", "path")


class SftStage(StageConfig):
    kind: Literal["sft"]
    training: SftTraining = SftTraining()


class GrpoStage(StageConfig):
    kind: Literal["grpo"]
    training: GrpoTraining = GrpoTraining()


Stage = Annotated[SftStage | GrpoStage, Field(discriminator="kind")]


class EvaluationConfig(Strict):
    """Held-out tasks of each family: `val` decides the gates, `test` is scored where a stage starts and ends."""

    val_per_family: PositiveInt = 100
    test_per_family: PositiveInt = 200
    bootstrap: PositiveInt = Field(1000, description="resamples of a 95 % interval")


class CheckpointConfig(Strict):
    every_minutes: float = Field(
        5,
        ge=0,
        description="at most so much work is lost, unless commits would take a tenth of the "
        "time; a stage's end is kept as well",
    )
    keep: PositiveInt = 2
    storage: str | None = Field(
        None,
        description="an absolute path or a URI (s3://bucket/folder, gs://…) that all learner "
        "workers reach; the run folder where left out",
    )


Role = RolloutConfig | RewardWorkersConfig | LearnerConfig
"""What a recipe says of one kind of workers."""


class ReportConfig(Strict):
    images: bool = Field(True, description="films in report.html; false where patient data must not leave its place")


class Recipe(Strict):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(0, ge=0)
    root: Path = Field(Path("runs"), description="the run folder is root/name")
    data: DataConfig
    model: ModelConfig
    prompt: PromptConfig = PromptConfig()
    stages: list[Stage] = Field(min_length=1)
    rollout: RolloutConfig = RolloutConfig()
    reward: RewardWorkersConfig = RewardWorkersConfig()
    learner: LearnerConfig = LearnerConfig()
    transport: Literal["auto", "store", "collective"] = Field(
        "auto",
        description="how new weights reach the rollout workers: "
        "through Ray's object store, or straight, by NCCL between GPUs and "
        "gloo between CPUs; auto: by NCCL where all have whole GPUs",
    )
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    report: ReportConfig = ReportConfig()
    guards: tuple[Guard, ...] = DEFAULT
    trackers: tuple[Literal["wandb", "mlflow"], ...] = Field((), description="that get every number beside TensorBoard")
    log_trajectories: int = Field(2, ge=0, description="responses of every RL step that are kept in the run folder")

    @property
    def asked(self) -> list[str]:
        """The families that are tested: what RL asks. Those that only SFT learns from (reports) are no questions."""
        asked = dict.fromkeys(family for stage in self.stages if stage.kind == "grpo" for family in stage.mixture)
        return list(asked or self.stages[0].mixture)

    @property
    def roles(self) -> dict[str, Role]:
        """The workers of a run."""
        return {"rollout": self.rollout, "reward": self.reward, "learner": self.learner}

    @property
    def collective(self) -> bool:
        """Whether the learner sends new weights straight to the rollout workers."""
        if self.transport == "auto":
            return self._gpus_apart and self.rollout.gpus >= 1
        return self.transport == "collective"

    @property
    def _gpus_apart(self) -> bool:
        """Whole GPUs for both, or none for both: NCCL takes one rank on a GPU, and knows no CPU."""
        both = (self.rollout.gpus, self.learner.gpus)
        return not self.rollout.sleep and (both == (0, 0) or min(both) >= 1)

    @model_validator(mode="after")
    def _collective_can_be(self) -> "Recipe":
        if self.transport == "collective" and not self._gpus_apart:
            raise ValueError(
                "transport: collective joins processes with a whole GPU each, or with none at all: set it to store or "
                f"auto, found rollout.gpus {self.rollout.gpus:g}, learner.gpus {self.learner.gpus:g}, rollout.sleep "
                f"{str(self.rollout.sleep).lower()}"
            )
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> "Recipe":
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"two stages have the same name: {names}")
        return self

    @model_validator(mode="after")
    def _every_rank_has_work(self) -> "Recipe":
        for stage in self.stages:
            least = self.learner.workers * getattr(stage.training, "updates_per_step", 1)
            if stage.training.tasks_per_step < least:
                raise ValueError(
                    f"stages.{stage.name}.training.tasks_per_step: {stage.training.tasks_per_step} is too few; "
                    f"at least {least}, one for each learner worker and update, are needed"
                )
        return self

    @model_validator(mode="after")
    def _sleepers_are_not_ahead(self) -> "Recipe":
        for stage in self.stages:
            if self.rollout.sleep and getattr(stage.training, "max_staleness", 0):
                raise ValueError(
                    f"stages.{stage.name}.training.max_staleness: engines that sleep while the learner works "
                    "(rollout.sleep) cannot write ahead of it; 0 is needed"
                )
        return self


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file with `overrides` ("stages.closed.gate.max_steps=50") laid over it.

    Raises:
        UserError: no such file, broken YAML, an unknown key (the nearest known one is offered), or a wrong value.
    """
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in Path("recipes").glob("*.yaml")], 1)
        raise UserError(f"{path}: no such recipe" + (f"; did you mean recipes/{near[0]}?" if near else ""))
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{path}: broken YAML, {where}{getattr(error, 'problem', None) or error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys to values, found {type(tree).__name__}")
    for text in overrides:
        _override(tree, text)
    return parse_recipe(tree, str(path))


def parse_recipe(tree: dict[str, Any], source: str) -> Recipe:
    """The checked recipe of a plain tree; `source` names it in errors. Raises UserError, which tells no password or key."""
    try:
        found = find_credential(tree)
    except ValueError as error:
        raise UserError(f"{source}: {error}") from error
    if found:
        raise UserError(
            f"{source}: {found[0]}: looks like {found[1]}; a recipe is kept in run folders, reports and trackers: set "
            "it in the environment of the cluster's nodes instead, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{source}: {_fault(error, tree)}") from error


def _exactly_one(part: Any, *names: str) -> Any:
    given = [name for name in names if getattr(part, name) is not None]
    if len(given) != 1:
        raise ValueError(f"exactly one of {' and '.join(names)} must be given, found {' and '.join(given) or 'none'}")
    return part


def _override(tree: Any, text: str) -> None:
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise UserError(f"--set {text}: a setting is written a.b=c")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"--set {text}: the value is broken YAML") from error
    node = tree
    for depth, key in enumerate(keys):
        if isinstance(node, list):  # by number, or by the name of a stage
            names = [item.get("name") if isinstance(item, dict) else None for item in node]
            if key in names:
                key = names.index(key)
            elif key.isdigit() and int(key) < len(node):
                key = int(key)
            else:
                raise UserError(f"--set {text}: {'.'.join(keys[:depth])} has no {key!r}; it has {names}")
        elif not isinstance(node, dict):
            raise UserError(f"--set {text}: {'.'.join(keys[:depth])} is a value, not a mapping")
        if depth == len(keys) - 1:
            node[key] = parsed
        elif isinstance(node, dict) and node.get(key) is None:
            node[key] = {}
        node = node[key]


def _fault(error: ValidationError, tree: Any) -> str:
    """One line on the first fault: its path, what is wrong, what would be right."""
    # An unknown key first: it is the likeliest cause of whatever else is missing.
    faults = sorted(error.errors(), key=lambda f: f["type"] != "extra_forbidden")
    fault = faults[0]
    location = _without_tags(fault["loc"], tree)
    path = ".".join(map(str, location)) or "the recipe"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if fault["type"] == "extra_forbidden":
        known = sorted(_keys_at(Recipe, location[:-1]))
        near = difflib.get_close_matches(str(location[-1]), known, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"{path}: unknown key; {hint}{more}"
    if fault["type"] == "missing":
        return f"{path}: is missing{more}"
    message = fault["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if fault["type"] == "value_error":  # a rule of ours, which names the values itself
        return f"{path}: {message}{more}"
    return f"{path}: {message}, found {fault['input']!r:.80}{more}"


def _without_tags(location: Sequence[str | int], tree: Any) -> list[str | int]:
    """A pydantic location without the tags of unions ("grpo") that it puts into it."""
    kept: list[str | int] = []
    node = tree
    for number, key in enumerate(location):
        inside = (isinstance(node, dict) and key in node) or (isinstance(node, list) and isinstance(key, int))
        if inside:
            node = node[key]
        elif number + 1 < len(location) and kept and isinstance(kept[-1], int):
            continue  # a tag stands right after the number of a stage
        kept.append(key)
    return kept


def _keys_at(model: Any, location: Sequence[str | int]) -> set[str]:
    """The keys that are known at a location of the tree."""
    models = list(_models_in(model))
    for key in location:
        if not isinstance(key, int):
            models = [
                m
                for parent in models
                if key in parent.model_fields
                for m in _models_in(parent.model_fields[key].annotation)
            ]
    return {name for m in models for name in m.model_fields}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (Union, types.UnionType, Annotated, list):
        for inner in typing.get_args(annotation):
            yield from _models_in(inner)
