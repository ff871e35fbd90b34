"""Writes the run folder: recipe, summary, metrics, transcripts and evaluations."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from actors.runtime.files import replacing
from actors.trajectory import ScoredGroup
from cluster.config.recipe import Recipe
from cluster.errors import UserError, error_line
from cluster.measures import Result
from cluster.record.run_status import taken_words
from cluster.record.trackers import Trackers, tracker_numbers
from cluster.trackers import RunInfo, TensorBoard
from curriculum.task import Task
from rewards.verdict import Verdict

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
FLUSH_S = 10.0  # the greatest age of metrics.parquet while steps are made


def run_path(recipe: Recipe, name: str | None) -> Path:
    """The absolute path of a new run's folder.

    Inside a Ray job the working directory is a copy that goes away; there a relative root starts at the home directory.

    Args:
        name: the user's name for the run. None takes the recipe's, with a number after it if that is taken.

    Raises:
        UserError: `name` is taken or is no name, or the recipe's root is no path.
    """
    base = Path.home() / "curlvpr" if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else Path.cwd()
    try:
        root = base / recipe.root.expanduser()
        str(root).encode()
    except (RuntimeError, UnicodeError) as error:  # no such user, or bytes that are no text
        raise UserError(f"root: {str(recipe.root)!a} is no path ({error_line(error)})") from error
    if name is not None:
        if not RUN_NAME.fullmatch(name):
            raise UserError(
                f"--name {name!a:.120}: a name has at most 100 letters, digits, dots, dashes and underscores, and "
                "begins with a letter or a digit"
            )
        if (root / name).exists():
            raise UserError(f"--name {name}: {taken_words(root / name)}")
        return root / name
    number = 1
    while (path := root / (recipe.name if number == 1 else f"{recipe.name}-{number}")).exists():
        number += 1
    return path


def recipe_text(recipe: Recipe) -> str:
    """The recipe.yaml of a run, from which it can be resumed."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class RunWriter:
    """Writes into a run folder. Whole files are replaced at once, so a reader never sees half a file."""

    def __init__(self, path: Path, trackers: Trackers | None = None) -> None:
        self.path = path
        self._trackers = trackers
        path.mkdir(parents=True, exist_ok=True)
        self._board = TensorBoard(RunInfo(path, {}, {}))
        self._metrics: list[dict[str, Any]] = []
        self._flushed = 0.0
        if (path / "metrics.parquet").is_file():
            self._metrics = pq.read_table(path / "metrics.parquet").to_pylist()

    def write_recipe(self, recipe: Recipe) -> None:
        self._replace("recipe.yaml", recipe_text(recipe))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        self._replace("summary.json", json.dumps(summary, indent=2))

    def add_metrics(self, row: dict[str, Any]) -> None:
        """Adds a row of numbers: one per step and one per evaluation, as `event` says; `step` counts the whole run."""
        self._metrics.append(row)
        self._board.add(tracker_numbers(row), row["step"])
        if self._trackers:
            self._trackers.add(row)
        if len(self._metrics) % 20 == 0 or time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def add_trajectories(self, step: int, stage: str, groups: Iterable[ScoredGroup], count: int) -> None:
        """Adds the first response of each of the first `count` groups, with its verdict."""
        rows = []
        for scored in islice(groups, count):
            trajectory = scored.group.trajectories[0]
            rows.append(
                {
                    "step": step,
                    "stage": stage,
                    "group": scored.group.group_id,
                    "task": scored.group.task.id,
                    "response": trajectory.text,
                    "tokens": len(trajectory.ids),
                    "version": int(trajectory.versions[0]) if len(trajectory.ids) else None,
                    "finish": trajectory.finish,
                    "verdict": scored.verdicts[0].to_dict(),
                }
            )
        self._append("trajectories.jsonl", rows)

    def add_non_finite(self, step: int, samples: Sequence[Mapping[str, Any]]) -> Path:
        """Writes the samples whose gradient was not finite, one per row, with their rank. Returns the Parquet file."""
        path = self.path / "non_finite" / f"step-{step:07d}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(_table_of(samples), path)
        return path

    def add_evaluation(self, when: Mapping[str, Any], results: Iterable[Result]) -> None:
        """Adds the result of each task; `when` gives the columns that say which evaluation it was."""
        rows = ({**when, "task": r.task.id, "response": r.text, "verdict": r.verdict.to_dict()} for r in results)
        self._append("evaluations.jsonl", rows)

    def read_evaluation(self, version: int, tasks: Sequence[Task]) -> list[Result]:
        """The results of testing `version`, in the order of `tasks`.

        Raises:
            ValueError: a task was not tested with it.
        """
        by_id = {task.id: task for task in tasks}
        results = {}
        with open(self.path / "evaluations.jsonl", encoding="utf-8") as file:
            for row in map(json.loads, file):
                if row["version"] == version and row["task"] in by_id:
                    task = by_id[row["task"]]
                    results[task.id] = Result(task, row["response"], Verdict.from_dict(row["verdict"]))
        if len(results) < len(by_id):
            raise ValueError(
                f"{self.path / 'evaluations.jsonl'}: {len(by_id) - len(results)} of {len(by_id)} tasks "
                f"have no result for version {version}"
            )
        return [results[task.id] for task in tasks]

    def drop_after(self, step: int) -> None:
        """Drops rows after `step`: those steps were lost, and will be made again."""
        self._metrics = [row for row in self._metrics if row["step"] <= step]
        for name in ("trajectories.jsonl", "evaluations.jsonl"):
            if (self.path / name).is_file():
                lines = (self.path / name).read_text(encoding="utf-8").splitlines(keepends=True)
                kept = [line for line in lines if _step_of(line) <= step]
                self._replace(name, "".join(kept))

    def flush(self) -> None:
        """Writes metrics.parquet and the TensorBoard files."""
        self._flushed = time.monotonic()
        if self._metrics:
            with replacing(self.path / "metrics.parquet") as partial:
                pq.write_table(_table_of(self._metrics), partial)
        self._board.flush()

    def close(self) -> None:
        self.flush()
        self._board.close()
        if self._trackers:
            self._trackers.close()

    def _replace(self, name: str, text: str) -> None:
        with replacing(self.path / name) as partial:
            partial.write_text(text, encoding="utf-8")

    def _append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        with open(self.path / name, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table with every column that any of them has, in the order in which they first occur."""
    columns = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in columns})


def _step_of(line: str) -> float:
    """The step of a line; infinite if the line is torn."""
    try:
        return json.loads(line)["step"]
    except ValueError:  # the process died while it wrote the line
        return float("inf")
