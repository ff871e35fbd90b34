"""Reads a run back from its folder alone, in any state: what the report, the model card and comparisons are made of."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.config.yaml_text import read_yaml
from cluster.errors import UserError, error_line
from cluster.measures.headlines import HEADLINES, measure_words
from cluster.record.run_status import check_run_folder
from cluster.record.validation import Validation
from curriculum.sets.task_table import TaskTable, valid_tasks
from curriculum.stages import StageConfig
from curriculum.task import Task

if TYPE_CHECKING:
    from cluster.stages.kind import StageKind


TASK_SET_FAULTS = (OSError, ValueError, KeyError)  # the task set of a run is gone or damaged


def duration(seconds: float) -> str:
    """Seconds in words: "4.2 s", "13 min 6 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


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
    """The measures of one evaluation in summary.json, by name."""
    return {name: Estimate(measured[name], *ends) for name, ends in measured.get("intervals", {}).items()}


def _stage_kind(name: str) -> type[StageKind] | None:
    from cluster.stages import STAGE_KINDS  # it imports Ray, which a list of runs does not need

    return STAGE_KINDS.get(name)


@dataclass(frozen=True)
class StageHistory:
    """A stage as the recipe defines it and as far as the run got.

    Attributes:
        reason: why it ended; None while it goes on.
        scores: (step, score) of each evaluation on the validation tasks.
        evaluation: the tests, under `start`, and later `end` and `gain`.
        held_back: what kept its last score from ending it by the threshold, in words.
        sampling: what adaptive sampling drew, by family and finding (`Tally.rows`); empty if the stage has none.
    """

    config: StageConfig
    steps: int
    reason: str | None
    scores: list[tuple[int, float]]
    evaluation: dict[str, Any]
    sampling: list[dict[str, Any]]
    held_back: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def generates(self) -> bool:
        """Whether its steps sampled responses; taken for granted of a kind that this installation does not know."""
        kind = _stage_kind(self.config.kind)
        return kind is None or kind.generates

    @property
    def imitates(self) -> bool:
        """Whether its loss is that of next tokens."""
        kind = _stage_kind(self.config.kind)
        return kind is not None and (kind.imitates or not kind.generates)

    @property
    def label(self) -> str:
        """Its kind in words."""
        kind = _stage_kind(self.config.kind)
        return kind.label if kind else self.config.kind

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
            newest, before = max(scores[-count:]), max(scores[:-count])
            return (
                f"{measure} stopped improving: best of the last {count} evaluations {newest:.3f}, best before "
                f"{before:.3f}, required gain {gate.plateau.min_gain:g}; {limit}"
            )
        held_back = "".join(f"; {words}" for words in self.held_back)
        if self.reason == "maximum":
            return f"its {gate.max_steps} steps were used up; {measure} {last}, {limit}{held_back}"
        return f"not ended; {measure} {last}, {limit}, at most {gate.max_steps} steps{held_back}"


@dataclass(frozen=True)
class Gain:
    """A headline measure at the start and end of a stage; `end` and `gain` are None while the stage goes on."""

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
    """The test of one version of the weights: its measures, and the stage and moment of the first test of it."""

    stage: str
    when: str
    version: int
    measures: dict[str, Estimate]

    @property
    def words(self) -> str:
        return "model/" if self.when == "model" else f"{self.when} of {self.stage}"


class RunRecord:
    """One run folder as it is now. Files that a run writes later may be missing.

    Raises:
        UserError: it is no run folder, nothing was measured yet, or one of its files is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_run_folder(path)
        if not (path / "summary.json").is_file():
            raise UserError(f"{path}: has no summary.json; a run writes it after its first evaluation")
        try:
            self.recipe: dict[str, Any] = read_yaml((path / "recipe.yaml").read_text(encoding="utf-8"))
            self.summary: dict[str, Any] = json.loads((path / "summary.json").read_text(encoding="utf-8"))
            metrics = path / "metrics.parquet"
            self.metrics: list[dict[str, Any]] = pq.read_table(metrics).to_pylist() if metrics.is_file() else []
            begun = {stage["name"]: stage for stage in self.summary["stages"]}
            self.stages = [
                _history(stage, begun[stage["name"]]) for stage in self.recipe["stages"] if stage["name"] in begun
            ]
            _ = self.phases, self.gains, self.tests, self.kept  # so that damage is found now
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
            pa.ArrowException,
        ) as error:
            raise UserError(f"{path}: the run folder cannot be read ({error_line(error)})") from error

    @property
    def images(self) -> bool:
        """Whether the recipe allows films in the report."""
        return self.recipe.get("report", {}).get("images", True)

    @property
    def baseline(self) -> dict[str, Estimate]:
        """The scores of the view alone on the test tasks; empty if no view is known."""
        return estimates(self.summary.get("baseline", {}).get("view", {}))

    @property
    def phases(self) -> dict[str, float]:
        """Seconds spent on each phase, longest first; `other` is the time outside all phases."""
        spent = {name: seconds for name, seconds in self.summary["seconds"].items() if name != "all"}
        spent["other"] = max(0.0, self.summary["seconds"]["all"] - sum(spent.values()))
        return dict(sorted(spent.items(), key=lambda item: -item[1]))

    @cached_property
    def gains(self) -> list[Gain]:
        """The gain of each stage in each headline measure, in order of the stages."""
        gains = []
        for stage in self.stages:
            start, end, gain = (estimates(stage.evaluation.get(when, {})) for when in ("start", "end", "gain"))
            for name in HEADLINES:
                if name in start:
                    gains.append(Gain(stage.name, name, start[name], end.get(name), gain.get(name)))
        return gains

    def points(self, column: str, event: str = "step") -> list[tuple[str, int, float]]:
        """(stage, step of the stage, value) for each row of metrics.parquet that has a value in the column."""
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
            for when in ("start", "end", "model"):
                measured = stage.evaluation.get(when)
                if measured:
                    test = Test(stage.name, when, measured["version"], estimates(measured))
                    tests.setdefault(test.version, test)
        return list(tests.values())

    @property
    def before_and_after(self) -> tuple[Test | None, Test | None]:
        """The tests to compare: at the start of reinforcement learning (of the run, without it), and the newest.

        The first is None if both are the same test.
        """
        if not self.tests:
            return None, None
        newest = self.tests[-1]
        start = self.tests[0].version
        for stage in self.stages:
            if stage.generates and "start" in stage.evaluation:
                start = stage.evaluation["start"]["version"]
                break
        before = next(test for test in self.tests if test.version == start)
        return (None if before is newest else before), newest

    @property
    def kept(self) -> list[Validation]:
        """The validated versions whose weights are kept, oldest first."""
        return [Validation.from_dict(values) for values in self.summary.get("kept", ())]

    def answers(self, version: int) -> dict[str, dict[str, Any]]:
        """The rows of evaluations.jsonl that test `version`, by task id."""
        return {row["task"]: row for row in self._lines("evaluations.jsonl") if row["version"] == version}

    def tasks(self, ids: Collection[str]) -> dict[str, Task]:
        """The tasks with these ids, by id; ids that the run's sets do not have are left out. Raises TASK_SET_FAULTS."""
        return self._all_tasks().find(ids) if ids else {}

    def train_sources(self) -> list[dict[str, Any]]:
        """The sources of the training tasks in the stages, largest first.

        Returns:
            Rows with `source`, `licence`, `attribution`, and how many `tasks` and `images` came from there.

        Raises:
            TASK_SET_FAULTS.
        """
        families: set[str] = set()
        for stage in self.recipe["stages"]:
            families.update(stage["tasks"], stage.get("rehearse", {}))
        parts = ("source", "licence", "attribution")
        sources: dict[tuple[str, ...], dict[str, Any]] = {}
        for row in self._all_tasks().of_split("train").where("family", families).values(*parts, "images"):
            key = tuple(row[name] for name in parts)
            entry = sources.setdefault(key, {**dict(zip(parts, key, strict=True)), "tasks": 0, "images": set()})
            entry["tasks"] += 1
            entry["images"].update(row["images"])
        rows = sorted(sources.values(), key=lambda row: -row["tasks"])
        return [row | {"images": len(row["images"])} for row in rows]

    def _all_tasks(self) -> TaskTable:
        """The tasks of the sets that the recipe names; else those that were drawn into the run folder."""
        data = self.recipe["data"]
        named = {source["name"]: Path(source["tasks"]) for source in data.get("sources") or ()}
        return valid_tasks(named or {"": Path(data.get("tasks") or self.path / "data")})

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        if (self.path / name).is_file():
            with open(self.path / name, encoding="utf-8") as file:
                for line in file:
                    try:
                        yield json.loads(line)
                    except ValueError:  # half written so far, or the process died while it wrote the line
                        continue


def _history(config: dict[str, Any], summary: dict[str, Any]) -> StageHistory:
    known = {name: value for name, value in config.items() if name in StageConfig.model_fields}
    scores = [(step, score) for step, score in summary["scores"]]
    held_back = tuple(summary.get("held_back", ()))
    steps, reason, evaluation = summary["steps"], summary["reason"], summary["evaluation"]
    sampling = summary.get("sampling", [])
    return StageHistory(StageConfig(**known), steps, reason, scores, evaluation, sampling, held_back)
