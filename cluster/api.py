"""The functions of the Python interface (docs/python-api.md). Ray and torch are imported only when one needs them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.errors import UserError

if TYPE_CHECKING:
    from cluster.config.recipe import Recipe
    from cluster.record.run_reader import RunRecord
    from curriculum.task import Task
    from rewards.config import RewardConfig
    from rewards.verdict import Verdict

SIGNAL = 128  # an exit code above it is this and the number of the signal that ended the run


class RunFailed(RuntimeError):
    """A run came to no good end. The message says why; `folder` is its run folder, from which it can be resumed."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"{folder}: {why}")
        self.folder = folder


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe.

    Args:
        path: a YAML file.
        overrides: settings laid over it, each written as for `--set`: "stages.closed.gate.max_steps=50".

    Raises:
        UserError: there is no such file, its YAML is broken, a key is unknown, or a value is wrong.
    """
    from cluster.config import recipe_file

    return recipe_file.load_recipe(Path(path), overrides)


def train(recipe: Recipe, folder: str | Path | None = None) -> RunRecord:
    """Trains in a new run folder, as `curlvpr train` does, and returns once the run has ended.

    Uses the Ray connection of this process if there is one; otherwise it joins or starts a cluster as the command does.
    Progress is printed. Libraries are made quiet for the rest of the process.

    Args:
        recipe: what to train, from `load_recipe`.
        folder: where; by default `recipe.root / recipe.name`, with a number if that is taken.

    Returns:
        The run as its folder tells it. Its status is "finished", or "stopped" if somebody asked it to stop.

    Raises:
        UserError: something in the recipe cannot be used, or the folder exists. Then no run folder is left behind.
        RunFailed: the run failed.
        KeyboardInterrupt: the run was interrupted. It can be resumed.
    """
    _quiet()
    from cluster.record.run_writer import run_path
    from cluster.run import launch

    path = Path(folder).absolute() if folder is not None else run_path(recipe, None)
    if path.exists():
        raise UserError(f"{path}: exists already; choose another folder, or resume the run in it")
    return _ended(launch.start(recipe, path), path)


def resume(folder: str | Path) -> RunRecord:
    """Goes on with a run that was stopped, interrupted or failed, from its newest checkpoint.

    Returns and raises as `train`; also UserError if the run is complete, still goes on, or its checkpoint is damaged.
    """
    _quiet()
    from cluster.run import launch

    path = Path(folder).absolute()
    return _ended(launch.resume(load_recipe(path / "recipe.yaml"), path), path)


def read_run(folder: str | Path) -> RunRecord:
    """Reads a run folder: recipe, summary, metrics, stages and tests. The run may still go on.

    Raises:
        UserError: it is no run folder, nothing has been measured yet, or a file of it is damaged.
    """
    from cluster.record.run_reader import RunRecord

    return RunRecord(Path(folder))


def evaluate(
    models: Sequence[str | Path],
    tasks: str | Path,
    split: str = "test",
    recipe: str | Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Lets models answer a split of a task set greedily, and measures the answers, as `curlvpr eval` does.

    Args:
        models: model folders. Later ones are compared with the first, by paired differences.
        tasks: a task set, such as RUN/data.
        split: "train", "val" or "test".
        recipe: whose prompt and engine to use; by default those of the run that a model belongs to.
        progress: takes a line of text now and then.

    Returns:
        The object that `curlvpr eval --json` prints (docs/evaluation.md).

    Raises:
        UserError: a model, the task set or the recipe cannot be used, or the workers do not fit into the cluster.
        RemoteFailure: a worker failed or did not answer.
    """
    _quiet()
    from cluster.standalone import evaluate as evaluation

    subjects = evaluation.find_subjects([Path(model) for model in models], Path(recipe) if recipe else None)
    questions = evaluation.find_tasks(Path(tasks), split)
    return {"tasks": str(tasks), "split": split, **evaluation.evaluate(subjects, questions, progress)}


def score(task: Task, response: str, rules: RewardConfig | None = None, truncated: bool = False) -> Verdict:
    """What a response is worth, and why (docs/rewards.md).

    Args:
        task: the question with its gold.
        response: what the model wrote.
        rules: weights and gates; by default those of an empty recipe.
        truncated: whether the response was cut off at the length limit.
    """
    from rewards.config import RewardConfig
    from rewards.score import score

    return score(task, response, rules or RewardConfig(), truncated)


def score_file(path: str | Path, rules: RewardConfig | None = None) -> Iterator[Verdict]:
    """The verdict on each line of a file of responses, as `curlvpr reward score` reads it (docs/rewards.md).

    Raises:
        UserError: the file cannot be read, or a line is no task with a response.
    """
    from cluster.standalone.reward_file import read_rows, score_rows
    from rewards.config import RewardConfig

    config = rules or RewardConfig()
    yield from score_rows(read_rows(Path(path), config), config)


def _quiet() -> None:
    """Must come before Ray, torch and vLLM are imported."""
    from actors.runtime.environment import quiet_libraries

    quiet_libraries()


def _ended(code: int, path: Path) -> RunRecord:
    """The run of a folder whose process came to an exit code."""
    if code > SIGNAL:
        raise KeyboardInterrupt
    if code:
        summary = path / "summary.json"
        why = json.loads(summary.read_text(encoding="utf-8")).get("why") if summary.is_file() else None
        raise RunFailed(path, why or "the run failed; log.jsonl tells what happened")
    return read_run(path)
