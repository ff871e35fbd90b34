"""The trackers of a run, as the recipe's `trackers` names them: Weights & Biases, MLflow.

A tracker that fails is reported once and dropped. The run goes on: its folder has every number.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cluster.config.recipe import Recipe
from cluster.errors import UserError, error_line
from cluster.trackers import TRACKERS, RunInfo, Tracker

IDS = "trackers.json"  # the ids under which trackers know the run; a resumed run continues under them


class Trackers:
    """All trackers of a run.

    Args:
        run: the run folder.
        report: takes a line of text for the user.

    Raises:
        UserError: a package is not installed, or its server cannot be used.
    """

    def __init__(self, recipe: Recipe, run: Path, report: Callable[[str], None]) -> None:
        self._report = report
        self._open: dict[str, Tracker] = {}
        ids = json.loads((run / IDS).read_text(encoding="utf-8")) if (run / IDS).is_file() else {}
        info = RunInfo(run, recipe.model_dump(mode="json"), ids)
        for name in recipe.trackers:
            try:
                self._open[name] = TRACKERS[name](info)
            except ImportError as error:
                raise UserError(
                    f"trackers: {name} is not installed ({error}); pip install 'curlvpr[trackers]'"
                ) from error
            except Exception as error:  # whatever a package raises that cannot reach its server
                raise UserError(f"trackers: {name}: {' '.join(str(error).split())}") from error
        if ids:
            (run / IDS).write_text(json.dumps(ids), encoding="utf-8")

    def add(self, row: Mapping[str, Any]) -> None:
        """Sends a row of metrics.parquet to every tracker that still works."""
        for name, tracker in list(self._open.items()):
            try:
                tracker.add(tracker_numbers(row), row["step"])
            except Exception as error:  # noqa: BLE001 - a tracker's fault must not end the run
                self._report(f"{name} gets no more numbers: {error_line(error)}")
                del self._open[name]

    def close(self) -> None:
        for name, tracker in self._open.items():
            try:
                tracker.close()
            except Exception as error:  # noqa: BLE001 - a tracker's fault must not end the run
                self._report(f"{name} could not be closed: {' '.join(str(error).split())}")
        self._open.clear()


def tracker_numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row of metrics.parquet by the names that TensorBoard and trackers show: stage/event/number."""
    return {
        f"{row['stage']}/{row['event']}/{name}": value
        for name, value in row.items()
        if isinstance(value, (int, float)) and name not in ("step", "stage_step")
    }
