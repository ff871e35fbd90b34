"""`curlvpr eval`: finished models answer a task set, on the workers of a run without its learner."""

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
from actors.rules.bert_scorer import BertScorer
from cluster.config.recipe import Role
from cluster.config.recipe_file import load_recipe
from cluster.control.ray_connection import check_fits, ray_cluster
from cluster.errors import UserError, one_line
from cluster.measures import MIN_PATIENTS, Interval, Result, Scores
from cluster.measures.forms import texts_for_bertscore
from cluster.measures.samples import sample_measures
from cluster.measures.strata import HEAD, TAIL, frequency_group, train_shares
from cluster.outputs import check_file, told
from cluster.planning.model_check import check_model
from cluster.pools.reward_pool import RewardPool
from cluster.pools.rollout_pool import RolloutPool
from cluster.run.evaluation import answer, sample
from cluster.run.prepare import check_images
from curriculum.images import ImageError, check_image
from curriculum.sets.task_table import read_task_table
from curriculum.task import Split, Task
from curriculum.taskset import TaskSetError

RESAMPLES = 1000
Log = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """A model folder and how to ask it; `settings` describes where that comes from, `remarks` what should be known."""

    name: str
    folder: Path
    prompt: PromptConfig
    rollout: RolloutConfig
    reward: RewardWorkersConfig
    settings: str
    remarks: tuple[str, ...]

    @property
    def roles(self) -> dict[str, Role]:
        return {"rollout": self.rollout, "reward": self.reward}


@dataclass(frozen=True)
class Sampling:
    """Responses that are sampled beside the greedy one.

    Attributes:
        count: of each task.
        temperature: None for that of each model's recipe.
    """

    count: int
    temperature: float | None = None

    def temperature_of(self, subject: Subject) -> float:
        return subject.rollout.temperature if self.temperature is None else self.temperature


@dataclass(frozen=True)
class EvaluationSet:
    """The tasks of a split, and for each finding the share of train films that show it."""

    tasks: Sequence[Task]
    shares: dict[str, float]


def find_subject(folder: Path, recipe: Path | None = None) -> Subject:
    """A model folder with prompt and engine settings: of `recipe`, else of the folder's run, else the defaults.

    Raises:
        UserError: it is no model folder, or the recipe is broken.
    """
    folder = folder.absolute()
    of_run = folder.parent / "recipe.yaml"
    path = recipe or (of_run if of_run.is_file() else None)
    name = f"{folder.parent.name}/{folder.name}" if of_run.is_file() else folder.name
    if path is None:
        prompt = PromptConfig()
        words = f"no recipe.yaml beside the folder and no --recipe: default engine, system message {prompt.system!r}"
        rollout, reward = RolloutConfig(), RewardWorkersConfig()
    else:
        settings = load_recipe(path)
        prompt, rollout, reward = settings.prompt_config, settings.rollout, settings.reward
        words = f"prompt and engine of {path}"
    remarks = check_model(folder, "--model", prompt).remarks
    return Subject(name, folder, prompt, rollout, reward, words, remarks)


def find_subjects(folders: Sequence[Path], recipe: Path | None) -> list[Subject]:
    """As `find_subject` for several folders, with distinct names. Raises UserError."""
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
        all_tasks = read_task_table(path)
    except TaskSetError as error:
        raise UserError(f"--tasks: {error}") from error
    tasks = all_tasks.where("split", {split})
    if not len(tasks):
        has = ", ".join(sorted(all_tasks.positions("split"))) or "no tasks"
        raise UserError(f"--tasks {path}: it has no task of the split {split}; it has {has}")
    task_of_image = {image: task for task in tasks for image in task.images}
    for image, task in task_of_image.items():
        try:
            check_image(image)
        except ImageError as error:
            raise UserError(f"--tasks: task {task.id!r}: {error}") from error
    return EvaluationSet(tasks, train_shares(all_tasks.of_split("train")))


def find_scorer(folder: Path, layer: int | None) -> BertScorer:
    """The BERTScore of an encoder's folder. Raises UserError if it holds no encoder."""
    if not (folder / "config.json").is_file():
        raise UserError(
            f"--bertscore-model {folder}: it has no config.json; it must be a Hugging Face folder of an encoder"
        )
    try:
        return BertScorer(folder, layer)
    except (OSError, ValueError) as error:
        raise UserError(f"--bertscore-model {folder}: {one_line(error)}") from error


def check_new_file(path: Path) -> None:
    """Raises UserError if the file exists, or cannot be written."""
    check_file("--answers", path)
    if path.exists():
        raise UserError(f"--answers {path}: it exists already")


@contextmanager
def answering(subject: Subject, images: int) -> Iterator[dict[str, Any]]:
    """Starts workers that hold a model, inside a Ray connection. Yields the pools, as `evaluation.answer` takes them.

    Args:
        images: maximum number of images of a task.

    Raises:
        UserError: they do not fit into the cluster.
        RemoteFailure: a worker failed or did not answer.
    """
    check_fits(subject.roles)
    name = f"eval-{uuid.uuid4().hex[:8]}"
    rollouts = RolloutPool(name, subject.rollout, subject.folder, subject.prompt, None, images)
    rewards = RewardPool(name, subject.reward)
    try:
        rollouts.ready()
        yield {"rollouts": rollouts, "rewards": rewards}
    finally:
        rollouts.stop()
        rewards.stop()


def evaluate(
    subjects: Sequence[Subject],
    evaluation_set: EvaluationSet,
    log: Log,
    answers: Path | None = None,
    scorer: BertScorer | None = None,
    sampling: Sampling | None = None,
) -> dict[str, Any]:
    """Lets every model answer every task, one model after the other.

    Args:
        subjects: the models.
        evaluation_set: the tasks.
        log: receives lines on the progress.
        answers: a new file for all answers, as JSON lines.
        scorer: if given, texts get a BERTScore, too.
        sampling: if given, responses are sampled, too.

    Returns:
        The object that `--json` prints, without the names of set and split (docs/evaluation.md).

    Raises:
        UserError: the workers do not fit into the cluster.
        RemoteFailure: a worker failed or did not answer.
    """
    tasks = evaluation_set.tasks
    images = max(len(task.images) for task in tasks)
    for subject in subjects:
        check_images(subject.folder, "--model", images > 0, subject.rollout)
    scores: list[Scores] = []
    with ray_cluster(subjects[0].roles, log):
        for subject in subjects:
            results, samples = _answer_all(subject, tasks, images, log, sampling)
            if answers:
                _write_answers(answers, subject, results, samples)
            texts = texts_for_bertscore(results)
            bertscore: Mapping[str, Any] = scorer(texts) if scorer and texts else {}
            scores.append(Scores(results, RESAMPLES, shares=evaluation_set.shares, bertscore=bertscore))
            if samples:
                scores[-1].paths |= sample_measures(samples)
    return report(subjects, scores, evaluation_set, sampling)


def _answer_all(
    subject: Subject, tasks: Sequence[Task], images: int, log: Log, sampling: Sampling | None
) -> tuple[list[Result], list[list[Result]]]:
    """The greedy answer to each task, and the sampled ones."""

    def progress(done: int, how: str = "answered") -> None:
        log(f"{subject.name}: {done} of {len(tasks)} {how}")

    for remark in subject.remarks:
        log(remark)
    log(f"{subject.name}: {subject.settings}; starting {subject.rollout.workers} rollout workers")
    with answering(subject, images) as pools:
        results = answer(tasks, progress=progress, **pools)
        if sampling is None:
            return results, []
        words = f"sampled {sampling.count} times"
        temperature = sampling.temperature_of(subject)
        samples = sample(tasks, sampling.count, temperature, progress=partial(progress, how=words), **pools)
        return results, samples


def report(
    subjects: Sequence[Subject],
    scores: Sequence[Scores],
    evaluation_set: EvaluationSet,
    sampling: Sampling | None = None,
) -> dict[str, Any]:
    """Scores as a JSON tree: the measures of each model, and the differences of each to the first."""
    first = scores[0]
    models = [
        {
            "name": subject.name,
            "model": str(subject.folder),
            "settings": subject.settings,
            **(
                {"samples": {"count": sampling.count, "temperature": sampling.temperature_of(subject)}}
                if sampling
                else {}
            ),
            "measures": _tree(model_scores.intervals(), model_scores),
        }
        for subject, model_scores in zip(subjects, scores, strict=True)
    ]
    for model, model_scores in zip(models[1:], scores[1:], strict=True):
        model["difference"] = _tree(model_scores.differences(first), model_scores)
    gold = [path[1] for path in first.paths if path[0] == "findings" and path[2] == "recall"]
    shares = {name: evaluation_set.shares.get(name, 0.0) for name in gold} if evaluation_set.shares else {}
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
        enough = patients >= MIN_PATIENTS
        node[path[-1]] = {
            "value": value,
            "low": low if enough else None,
            "high": high if enough else None,
            "tasks": len(tasks),
            "patients": patients,
        }
    return tree


def _write_answers(
    path: Path, subject: Subject, results: Sequence[Result], samples: Sequence[Sequence[Result]]
) -> None:
    with told("--answers", path), open(path, "a", encoding="utf-8") as file:
        for result in results:
            file.write(_row(subject, result) + "\n")
        for of_task in samples:
            for number, result in enumerate(of_task, 1):
                file.write(_row(subject, result, sample=number) + "\n")


def _row(subject: Subject, result: Result, **more: int) -> str:
    row = {
        "model": subject.name,
        "task": result.task.id,
        "response": result.text,
        "verdict": result.verdict.to_dict(),
        **more,
    }
    return json.dumps(row, ensure_ascii=False)
