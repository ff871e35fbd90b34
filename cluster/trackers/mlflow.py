"""MLflow. Server and credentials come from its own environment variables, never from a recipe."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from cluster.trackers.base import PROJECT, RunInfo

_MAX_VALUE = 500  # characters of a parameter; MLflow refuses longer ones


class MLflowTracker:
    def __init__(self, run: RunInfo) -> None:
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient()
        self.metric = Metric
        if "mlflow" not in run.ids:
            experiment = self.client.get_experiment_by_name(PROJECT)
            number = experiment.experiment_id if experiment else self.client.create_experiment(PROJECT)
            run.ids["mlflow"] = self.client.create_run(number, run_name=run.folder.name).info.run_id
            params = [Param(key, value) for key, value in flat_parameters(run.recipe)]
            self.client.log_batch(run.ids["mlflow"], params=params)
        self.id = run.ids["mlflow"]

    def add(self, numbers: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [self.metric(name, value, now, step) for name, value in numbers.items()]
        self.client.log_batch(self.id, metrics=metrics)

    def close(self) -> None:
        self.client.set_terminated(self.id)


def flat_parameters(tree: Any, path: str = "") -> list[tuple[str, str]]:
    """The leaves of a recipe by their dotted paths. A list is one leaf."""
    if not isinstance(tree, Mapping):
        return [(path, str(tree)[:_MAX_VALUE])]
    leaves = []
    for key, value in tree.items():
        leaves += flat_parameters(value, f"{path}.{key}" if path else key)
    return leaves
