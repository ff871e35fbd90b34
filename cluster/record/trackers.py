"""Where a run's numbers go beside its folder: Weights & Biases, MLflow, as the recipe's `trackers` says.

Servers, projects and keys come from these packages' own environment variables, never from a recipe. What a tracker cannot
take is said once and ends that tracker, not the run: the run folder has every number.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from cluster.config.recipe import Recipe
from cluster.errors import UserError, in_words

PROJECT = "curlvpr"
IDS = "trackers.json"  # under which ids the trackers know the run, so that a resumed one goes on there


class Tracker(Protocol):
    def add(self, numbers: Mapping[str, float], step: int) -> None: ...
    def close(self) -> None: ...


class Trackers:
    """All trackers of a run.

    Raises:
        UserError: a package is not installed, or its server cannot be used.
    """

    def __init__(self, recipe: Recipe, run: Path, say: Callable[[str], None]) -> None:
        self.say = say
        self.open: dict[str, Tracker] = {}
        ids = json.loads((run / IDS).read_text(encoding="utf-8")) if (run / IDS).is_file() else {}
        for name in recipe.trackers:
            try:
                self.open[name] = KINDS[name](recipe, run, ids)
            except ImportError as error:
                raise UserError(
                    f"trackers: {name} is not installed ({error}); pip install 'curlvpr[trackers]'"
                ) from error
            except Exception as error:
                raise UserError(f"trackers: {name}: {' '.join(str(error).split())}") from error
        if ids:
            (run / IDS).write_text(json.dumps(ids), encoding="utf-8")

    def add(self, row: Mapping[str, Any]) -> None:
        """A row of metrics.parquet."""
        for name, tracker in list(self.open.items()):
            try:
                tracker.add(numbers(row), row["step"])
            except Exception as error:
                self._give_up(name, error)

    def close(self) -> None:
        for name, tracker in self.open.items():
            try:
                tracker.close()
            except Exception as error:
                self.say(f"{name} was not closed well: {' '.join(str(error).split())}")
        self.open.clear()

    def _give_up(self, name: str, error: Exception) -> None:
        self.say(f"{name} gets no more numbers: {in_words(error)}")
        del self.open[name]


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row of metrics.parquet under the names that TensorBoard and trackers show: stage/event/number."""
    return {
        f"{row['stage']}/{row['event']}/{name}": value
        for name, value in row.items()
        if isinstance(value, (int, float)) and name not in ("step", "stage_step")
    }


class Wandb:
    def __init__(self, recipe: Recipe, run: Path, ids: dict[str, str]) -> None:
        import wandb

        ids.setdefault("wandb", uuid.uuid4().hex)
        self.run = wandb.init(
            project=PROJECT,
            name=run.name,
            id=ids["wandb"],
            resume="allow",
            dir=str(run),
            config=recipe.model_dump(mode="json"),
            settings=wandb.Settings(silent=True),
        )
        # A run that went back to a commit counts its steps again, which wandb's own counter would refuse.
        self.run.define_metric("*", step_metric="run_step")

    def add(self, numbers: Mapping[str, float], step: int) -> None:
        self.run.log({**numbers, "run_step": step})

    def close(self) -> None:
        self.run.finish()


class MLflow:
    def __init__(self, recipe: Recipe, run: Path, ids: dict[str, str]) -> None:
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        self.client, self.metric = MlflowClient(), Metric
        if "mlflow" not in ids:
            experiment = self.client.get_experiment_by_name(PROJECT)
            number = experiment.experiment_id if experiment else self.client.create_experiment(PROJECT)
            ids["mlflow"] = self.client.create_run(number, run_name=run.name).info.run_id
            self.client.log_batch(
                ids["mlflow"], params=[Param(key, value) for key, value in _flat(recipe.model_dump(mode="json"))]
            )
        self.id = ids["mlflow"]

    def add(self, numbers: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        self.client.log_batch(self.id, metrics=[self.metric(name, value, now, step) for name, value in numbers.items()])

    def close(self) -> None:
        self.client.set_terminated(self.id)


KINDS: dict[str, Callable[[Recipe, Path, dict[str, str]], Tracker]] = {"wandb": Wandb, "mlflow": MLflow}


def _flat(tree: Any, path: str = "") -> list[tuple[str, str]]:
    """The leaves of a recipe, by their path; lists whole."""
    if isinstance(tree, dict):
        return [leaf for key, value in tree.items() for leaf in _flat(value, f"{path}.{key}" if path else key)]
    return [(path, str(tree)[:500])]
