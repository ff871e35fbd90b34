"""What a run leaves behind: a folder with recipe, summary, metrics, ledger, transcripts, checkpoints and the model."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from actors.trajectory import ScoredGroup
from cluster.config.recipe import Recipe
from cluster.errors import UserError
from cluster.measures import Result
from cluster.record.trackers import Trackers, tracker_numbers
from cluster.trackers import RunInfo, TensorBoard
from curriculum.task import Task
from rewards.verdict import Verdict

FLUSH_S = 10.0  # how old metrics.parquet may be while steps are made


def run_path(recipe: Recipe, name: str | None) -> Path:
    """The absolute path of the run's folder. Without a name of the user's, a number is added where the recipe's is taken.

    Inside a Ray job the working directory is a copy that goes away, so there a relative root starts at the home directory.

    Raises:
        UserError: the user's name is taken.
    """
    base = Path.home() / "curlvpr" if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else Path.cwd()
    root = base / recipe.root.expanduser()
    if name is not None:
        if (root / name).exists():
            raise UserError(f"--name {name}: {root / name} exists already; choose another name or remove it")
        return root / name
    number = 1
    while (path := root / (recipe.name if number == 1 else f"{recipe.name}-{number}")).exists():
        number += 1
    return path


class RunWriter:
    """Writes into the folder. Whole files are replaced at once, so that a reader never sees half of one."""

    def __init__(self, path: Path, trackers: Trackers | None = None) -> None:
        self.path, self._trackers = path, trackers
        path.mkdir(parents=True, exist_ok=True)
        self._board = TensorBoard(RunInfo(path, {}, {}))
        self._metrics: list[dict[str, Any]] = []
        self._flushed = 0.0
        if (path / "metrics.parquet").is_file():
            self._metrics = pq.read_table(path / "metrics.parquet").to_pylist()

    def write_recipe(self, recipe: Recipe) -> None:
        self._replace(
            "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        )

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        self._replace("summary.json", json.dumps(summary, indent=2))

    def add_metrics(self, row: dict[str, Any]) -> None:
        """A row of numbers: one for each step and each evaluation, told apart by `event`; `step` counts the whole run."""
        self._metrics.append(row)
        self._board.add(tracker_numbers(row), row["step"])
        if self._trackers:
            self._trackers.add(row)
        if len(self._metrics) % 20 == 0 or time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def add_trajectories(self, step: int, stage: str, groups: Iterable[ScoredGroup], count: int) -> None:
        """The first response of the first `count` groups, with its verdict."""
        self._append(
            "trajectories.jsonl",
            (
                {
                    "step": step,
                    "stage": stage,
                    "group": g.group.group_id,
                    "task": g.group.task.id,
                    "response": t.text,
                    "tokens": len(t.ids),
                    "version": int(t.versions[0]) if len(t.ids) else None,
                    "finish": t.finish,
                    "verdict": verdict.to_dict(),
                }
                for g, _ in zip(groups, range(count))
                for t, verdict in [(g.group.trajectories[0], g.verdicts[0])]
            ),
        )

    def add_non_finite(self, step: int, samples: Sequence[Mapping[str, Any]]) -> Path:
        """Samples whose gradient was not finite, one a row, with their rank. Returns the Parquet file."""
        path = self.path / "non_finite" / f"step-{step:07d}.parquet"
        path.parent.mkdir(exist_ok=True)
        columns = dict.fromkeys(name for sample in samples for name in sample)
        pq.write_table(pa.table({name: [sample.get(name) for sample in samples] for name in columns}), path)
        return path

    def add_evaluation(self, when: Mapping[str, Any], results: Iterable[Result]) -> None:
        self._append(
            "evaluations.jsonl",
            ({**when, "task": r.task.id, "response": r.text, "verdict": r.verdict.to_dict()} for r in results),
        )

    def read_evaluation(self, version: int, tasks: Sequence[Task]) -> list[Result]:
        """The results of the test that was made of `version`, in the order of `tasks`.

        Raises:
            ValueError: not all of the tasks were tested with it.
        """
        by_id = {task.id: task for task in tasks}
        found = {}
        with open(self.path / "evaluations.jsonl", encoding="utf-8") as file:
            for row in map(json.loads, file):
                if row["version"] == version and row["task"] in by_id:
                    found[row["task"]] = Result(by_id[row["task"]], row["response"], Verdict.from_dict(row["verdict"]))
        if len(found) < len(by_id):
            raise ValueError(
                f"{self.path / 'evaluations.jsonl'}: {len(by_id) - len(found)} of {len(by_id)} tasks "
                f"have no result for version {version}"
            )
        return [found[task.id] for task in tasks]

    def drop_after(self, step: int) -> None:
        """Drops rows after `step`: those steps were lost, and will be made again."""
        self._metrics = [row for row in self._metrics if row["step"] <= step]
        for name in ("trajectories.jsonl", "evaluations.jsonl"):
            if (self.path / name).is_file():
                lines = (self.path / name).read_text(encoding="utf-8").splitlines(keepends=True)
                self._replace(name, "".join(line for line in lines if _step_of(line) <= step))

    def flush(self) -> None:
        self._flushed = time.monotonic()
        if self._metrics:
            columns = dict.fromkeys(name for row in self._metrics for name in row)
            table = pa.table({name: [row.get(name) for row in self._metrics] for name in columns})
            partial = self.path / ".metrics.parquet"
            pq.write_table(table, partial)
            os.replace(partial, self.path / "metrics.parquet")
        self._board.flush()

    def close(self) -> None:
        self.flush()
        self._board.close()
        if self._trackers:
            self._trackers.close()

    def _replace(self, name: str, text: str) -> None:
        partial = self.path / f".{name}"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, self.path / name)

    def _append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        with open(self.path / name, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except ValueError:  # the process died while it wrote the line
        return float("inf")
