"""A run, read back from its folder alone: what the report and the model card tell. Works for a run in any state."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from cluster.errors import UserError, error_line
from cluster.measures.headlines import HEADLINES, measure_words
from cluster.record.run_status import check_run_folder
from curriculum.stages import StageConfig
from curriculum.task import Task
from curriculum.taskset import FILE_NAME, pick_tasks

TASK_SET_FAULTS = (OSError, ValueError, KeyError)  # the task set of a run is gone, or is none


def duration(seconds: float) -> str:
    """Seconds in words: "4.2 s", "13 min 6 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


@dataclass(frozen=True)
class Estimate:
    """A measured value and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def signed(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def estimates(measured: dict[str, Any]) -> dict[str, Estimate]:
    """The measures of one evaluation of summary.json."""
    return {name: Estimate(measured[name], *ends) for name, ends in measured.get("intervals", {}).items()}


@dataclass(frozen=True)
class StageHistory:
    """A stage as the recipe wants it and as the summary tells it; `evaluation` gets `start`, `end` and `gain` in turn."""

    config: StageConfig
    steps: int
    reason: str | None
    scores: list[tuple[int, float]]
    evaluation: dict[str, Any]

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def why(self) -> str:
        """Why the stage ended, in words, its numbers against those of the gate."""
        gate = self.config.gate
        measure = f"validation {measure_words(gate.measure)}"
        last = f"{self.scores[-1][1]:.3f}" if self.scores else "not measured"
        limit = f"threshold {gate.threshold:g}" if gate.threshold is not None else "no threshold"
        if self.reason == "threshold":
            return f"{measure} {last} reached the {limit}"
        if self.reason == "plateau" and gate.plateau:
            count = gate.plateau.evaluations
            scores = [score for _, score in self.scores]
            return (
                f"{measure} stood still: best of the last {count} evaluations {max(scores[-count:]):.3f}, best before "
                f"{max(scores[:-count]):.3f}, wanted gain {gate.plateau.min_gain:g}; {limit}"
            )
        if self.reason == "maximum":
            return f"its {gate.max_steps} steps were used up; {measure} {last}, {limit}"
        return f"not ended; {measure} {last}, {limit}, at most {gate.max_steps} steps"


@dataclass(frozen=True)
class Gain:
    """A headline measure over one stage; `end` and `gain` are None while the stage goes on."""

    stage: str
    measure: str
    start: Estimate
    end: Estimate | None
    gain: Estimate | None

    @property
    def words(self) -> str:
        if self.gain is None:
            return "not ended"
        if self.gain.low > 0:
            return "rose"
        return "fell" if self.gain.high < 0 else "no clear change"


@dataclass(frozen=True)
class Test:
    """The test of one version of the weights: the first place that it was made at, and its measures."""

    stage: str
    when: str
    version: int
    measures: dict[str, Estimate]

    @property
    def words(self) -> str:
        return f"{self.when} of {self.stage}"


class RunRecord:
    """One run folder, as it is now. Files that a run writes later are simply not there yet.

    Raises:
        UserError: no run folder, or nothing was measured yet, or a file of it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_run_folder(path)
        if not (path / "summary.json").is_file():
            raise UserError(f"{path}: has no summary.json; a run writes it after its first evaluation")
        try:
            self.recipe: dict[str, Any] = yaml.safe_load((path / "recipe.yaml").read_text(encoding="utf-8"))
            self.summary: dict[str, Any] = json.loads((path / "summary.json").read_text(encoding="utf-8"))
            metrics = path / "metrics.parquet"
            self.metrics: list[dict[str, Any]] = pq.read_table(metrics).to_pylist() if metrics.is_file() else []
            told = {stage["name"]: stage for stage in self.summary["stages"]}
            self.stages = [
                _history(stage, told[stage["name"]]) for stage in self.recipe["stages"] if stage["name"] in told
            ]
            _ = self.phases, self.gains, self.tests  # what cannot be read is found now
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError, pa.ArrowException) as error:
            raise UserError(f"{path}: the run folder cannot be read ({error_line(error)})") from error

    @property
    def images(self) -> bool:
        """Whether the recipe lets films into the report."""
        return self.recipe.get("report", {}).get("images", True)

    @property
    def baseline(self) -> dict[str, Estimate]:
        """What the view alone scores on the test tasks; empty where no view is known."""
        return estimates(self.summary.get("baseline", {}).get("view", {}))

    @property
    def phases(self) -> dict[str, float]:
        """Seconds by what they were spent on, longest first; `other` is what no phase counts."""
        spent = {name: seconds for name, seconds in self.summary["seconds"].items() if name != "all"}
        spent["other"] = max(0.0, self.summary["seconds"]["all"] - sum(spent.values()))
        return dict(sorted(spent.items(), key=lambda item: -item[1]))

    @cached_property
    def gains(self) -> list[Gain]:
        gains = []
        for stage in self.stages:
            start, end, gain = (estimates(stage.evaluation.get(when, {})) for when in ("start", "end", "gain"))
            gains += [
                Gain(stage.name, name, start[name], end.get(name), gain.get(name))
                for name in HEADLINES
                if name in start
            ]
        return gains

    def points(self, column: str, event: str = "step") -> list[tuple[str, int, float]]:
        """(stage, step of the stage, value) of a column of metrics.parquet, where it has one."""
        return [
            (row["stage"], row["stage_step"], row[column])
            for row in self.metrics
            if row["event"] == event and row.get(column) is not None
        ]

    @cached_property
    def tests(self) -> list[Test]:
        """Every tested version once, in order."""
        tests: dict[int, Test] = {}
        for stage in self.stages:
            for when in ("start", "end"):
                if measured := stage.evaluation.get(when):
                    test = Test(stage.name, when, measured["version"], estimates(measured))
                    tests.setdefault(test.version, test)
        return list(tests.values())

    @property
    def before_and_after(self) -> tuple[Test | None, Test | None]:
        """The tests to compare: where reinforcement learning started (or the run, without it), and the newest.

        The first is None where the newest test is that one.
        """
        if not self.tests:
            return None, None
        start = next(
            (
                s.evaluation["start"]["version"]
                for s in self.stages
                if s.config.kind == "grpo" and "start" in s.evaluation
            ),
            self.tests[0].version,
        )
        before = next(test for test in self.tests if test.version == start)
        return (before if before is not self.tests[-1] else None), self.tests[-1]

    def answers(self, version: int) -> dict[str, dict[str, Any]]:
        """Task id to the row of evaluations.jsonl that tests `version`."""
        return {row["task"]: row for row in self._lines("evaluations.jsonl") if row["version"] == version}

    @property
    def task_set(self) -> Path:
        """The file of tasks that the recipe names, or that was drawn into the run folder."""
        named = self.recipe["data"].get("tasks")
        path = Path(named) if named else self.path / "data"
        return path / FILE_NAME if path.is_dir() or not path.suffix else path

    def tasks(self, ids: Collection[str]) -> dict[str, Task]:
        """The tasks with these ids, as `taskset.pick_tasks` reads them. Raises TASK_SET_FAULTS."""
        return pick_tasks(self.task_set, ids)

    def train_sources(self) -> list[dict[str, Any]]:
        """`source`, `licence`, `attribution`, `tasks` and `images` of the train tasks that the stages ask, largest first.

        Raises TASK_SET_FAULTS.
        """
        families = {
            family for stage in self.recipe["stages"] for family in (*stage["tasks"], *stage.get("rehearse", {}))
        }
        parts = ["source", "licence", "attribution"]
        columns = [name for name in parts if name in pq.read_schema(self.task_set).names]
        table = pq.read_table(
            self.task_set,
            columns=[*columns, "images"],
            filters=[("split", "=", "train"), ("family", "in", list(families))],
        )
        found: dict[tuple[str, ...], dict[str, Any]] = {}
        for row in table.to_pylist():
            key = tuple(row.get(name) or "" for name in parts)
            entry = found.setdefault(key, {**dict(zip(parts, key, strict=True)), "tasks": 0, "images": set()})
            entry["tasks"] += 1
            entry["images"].update(row["images"])
        rows = sorted(found.values(), key=lambda row: -row["tasks"])
        return [row | {"images": len(row["images"])} for row in rows]

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        if (self.path / name).is_file():
            with open(self.path / name, encoding="utf-8") as file:
                for line in file:
                    try:
                        yield json.loads(line)
                    except ValueError:  # being written, or the process died while it wrote the line
                        continue


def _history(config: dict[str, Any], told: dict[str, Any]) -> StageHistory:
    known = {name: value for name, value in config.items() if name in StageConfig.model_fields}
    return StageHistory(
        StageConfig(**known), told["steps"], told["reason"], [tuple(s) for s in told["scores"]], told["evaluation"]
    )
