"""`curlvpr eval`: finished models answer a task set greedily, on the workers that a run has, without its learner."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from actors.model.encode import PromptConfig
from actors.reward import RewardWorkersConfig
from actors.rollout.config import RolloutConfig
from cluster.config.recipe import Role
from cluster.config.recipe_file import load_recipe
from cluster.control.ray_connection import check_fits, ray_cluster
from cluster.errors import UserError
from cluster.measures import MIN_PATIENTS, Interval, Result, Scores
from cluster.measures.bertscore import BertScorer
from cluster.measures.forms import texts_for_bertscore
from cluster.measures.strata import HEAD, TAIL, frequency_group, train_shares
from cluster.pools.reward_pool import RewardPool
from cluster.pools.rollout_pool import RolloutPool
from cluster.run.evaluation import answer
from cluster.run.prepare import check_images, check_model
from curriculum.images import ImageError, check_image
from curriculum.task import Split, Task
from curriculum.taskset import TaskSetError, read_tasks

RESAMPLES = 1000
Say = Callable[[str], None]
Ask = Callable[..., list[Result]]


@dataclass(frozen=True)
class Subject:
    """A model folder and how it is asked; `settings` says in words where that comes from."""

    name: str
    folder: Path
    prompt: PromptConfig
    roles: dict[str, Role]
    settings: str


@dataclass(frozen=True)
class EvaluationSet:
    """The tasks of a split, and of the train films the share that shows each finding."""

    tasks: list[Task]
    shares: dict[str, float]


def find_subject(folder: Path, recipe: Path | None = None) -> Subject:
    """A model folder with the prompt and engine of `recipe`, else of the run that the folder belongs to, else the defaults.

    Raises:
        UserError: it is no model folder, or the recipe is broken.
    """
    folder = folder.absolute()
    check_model(folder, "--model")
    of_run = folder.parent / "recipe.yaml"
    path = recipe or (of_run if of_run.is_file() else None)
    name = f"{folder.parent.name}/{folder.name}" if of_run.is_file() else folder.name
    if path is None:
        prompt = PromptConfig()
        words = f"no recipe.yaml beside the folder and no --recipe: default engine, system message {prompt.system!r}"
        return Subject(name, folder, prompt, {"rollout": RolloutConfig(), "reward": RewardWorkersConfig()}, words)
    found = load_recipe(path)
    roles = {"rollout": found.rollout, "reward": found.reward}
    return Subject(name, folder, found.prompt, roles, f"prompt and engine of {path}")


def find_subjects(folders: Sequence[Path], recipe: Path | None) -> list[Subject]:
    """As `find_subject`, with names that differ. Raises UserError."""
    subjects = [find_subject(folder, recipe) for folder in folders]
    names = [subject.name for subject in subjects]
    if len({subject.folder for subject in subjects}) < len(subjects):
        raise UserError(f"--model: the same folder is given twice: {', '.join(map(str, folders))}")
    if len(set(names)) == len(names):
        return subjects
    return [replace(subject, name=str(subject.folder)) for subject in subjects]


def find_tasks(path: Path, split: str) -> EvaluationSet:
    """The tasks of a split, their images checked.

    Raises:
        UserError: the set cannot be used, or has no such task.
    """
    if split not in get_args(Split):
        raise UserError(f"--split {split}: no such split; splits are {', '.join(get_args(Split))}")
    try:
        every = read_tasks(path)
    except TaskSetError as error:
        raise UserError(f"--tasks: {error}") from error
    tasks = [task for task in every if task.split == split]
    if not tasks:
        has = ", ".join(sorted({task.split for task in every})) or "no tasks"
        raise UserError(f"--tasks {path}: it has no task of the split {split}; it has {has}")
    asked_of = {image: task for task in tasks for image in task.images}
    for image, task in asked_of.items():
        try:
            check_image(image)
        except ImageError as error:
            raise UserError(f"--tasks: task {task.id!r}: {error}") from error
    return EvaluationSet(tasks, train_shares([task for task in every if task.split == "train"]))


def find_scorer(folder: Path, layer: int | None) -> BertScorer:
    """Raises UserError where the folder holds no encoder."""
    if not (folder / "config.json").is_file():
        raise UserError(
            f"--bertscore-model {folder}: it has no config.json; a Hugging Face folder of an encoder is needed"
        )
    try:
        return BertScorer(folder, layer)
    except (OSError, ValueError) as error:
        raise UserError(f"--bertscore-model {folder}: {' '.join(str(error).split())}") from error


def check_new_file(path: Path) -> None:
    """Raises UserError where the file cannot be written anew."""
    if path.exists() or not path.absolute().parent.is_dir():
        raise UserError(f"--answers {path}: " + ("it exists already" if path.exists() else "its folder does not exist"))


@contextmanager
def answering(subject: Subject, images: int) -> Iterator[Ask]:
    """Workers that hold a model, inside a Ray connection. Yields `evaluation.answer` for them.

    Args:
        images: most images that a task has.

    Raises:
        UserError: they do not fit into the cluster.
        RemoteFailure: a worker failed or did not answer.
    """
    check_fits(subject.roles)
    name = f"eval-{uuid.uuid4().hex[:8]}"
    rollouts = RolloutPool(name, subject.roles["rollout"], subject.folder, subject.prompt, None, images)
    rewards = RewardPool(name, subject.roles["reward"])
    try:
        rollouts.ready()
        yield partial(answer, rollouts=rollouts, rewards=rewards)
    finally:
        rollouts.stop()
        rewards.stop()


def evaluate(
    subjects: Sequence[Subject],
    asked: EvaluationSet,
    say: Say,
    answers: Path | None = None,
    scorer: BertScorer | None = None,
) -> dict[str, Any]:
    """Lets every model answer every task, one model after the other.

    Args:
        say: takes lines on how it goes.
        answers: a new file for all answers, a JSON line each.
        scorer: where given, texts get their BERTScore, too.

    Returns:
        What `--json` prints, without the names of set and split (docs/evaluation.md).

    Raises:
        UserError: the workers do not fit into the cluster.
        RemoteFailure: a worker failed or did not answer.
    """
    images, count = max(len(task.images) for task in asked.tasks), len(asked.tasks)
    for subject in subjects:
        check_images(subject.folder, "--model", asked.tasks, subject.roles["rollout"])
    scores: list[Scores] = []
    with ray_cluster(subjects[0].roles):
        for subject in subjects:
            say(f"{subject.name}: {subject.settings}; starting {subject.roles['rollout'].workers} rollout workers")
            with answering(subject, images) as ask:
                results = ask(asked.tasks, progress=lambda done: say(f"{subject.name}: {done} of {count} answered"))
            if answers:
                _write_answers(answers, subject, results)
            texts = texts_for_bertscore(results)
            bertscore = scorer(texts) if scorer and texts else {}
            scores.append(Scores(results, RESAMPLES, shares=asked.shares, bertscore=bertscore))
    return report(subjects, scores, asked)


def report(subjects: Sequence[Subject], scores: Sequence[Scores], asked: EvaluationSet) -> dict[str, Any]:
    """Scores as a JSON tree: measures of each model, and differences of each to the first."""
    first = scores[0]
    models = [
        {
            "name": subject.name,
            "model": str(subject.folder),
            "settings": subject.settings,
            "measures": _tree(own.intervals(), own),
        }
        for subject, own in zip(subjects, scores, strict=True)
    ]
    for model, own in zip(models[1:], scores[1:], strict=True):
        model["difference"] = _tree(own.differences(first), own)
    gold = [path[1] for path in first.paths if path[0] == "findings" and path[2] == "recall"]
    shares = {name: asked.shares.get(name, 0.0) for name in gold} if asked.shares else {}
    return {
        "count": len(first.ids),
        "patients": int(first.units.max()) + 1,
        "resamples": RESAMPLES,
        "frequency": {
            "head_above": HEAD,
            "tail_below": TAIL,
            "train_share": shares,
            "group": {name: frequency_group(share) for name, share in shares.items()},
        },
        "models": models,
    }


def _tree(intervals: Mapping[tuple[str, ...], Interval], scores: Scores) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, (value, low, high) in intervals.items():
        tasks = scores.paths[path].tasks
        patients = len(set(scores.units[tasks]))
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        sure = patients >= MIN_PATIENTS
        node[path[-1]] = {
            "value": value,
            "low": low if sure else None,
            "high": high if sure else None,
            "tasks": len(tasks),
            "patients": patients,
        }
    return tree


def _write_answers(path: Path, subject: Subject, results: Sequence[Result]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        for r in results:
            row = {"model": subject.name, "task": r.task.id, "response": r.text, "verdict": r.verdict.to_dict()}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
