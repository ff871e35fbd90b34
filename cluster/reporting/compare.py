"""`curlvpr compare`: several runs side by side in one page. Reads the run folders alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from cluster.errors import UserError
from cluster.measures import MIN_PATIENTS
from cluster.measures.headlines import HEADLINES, measure_words
from cluster.record.run_reader import Estimate, RunRecord, StageHistory, duration
from cluster.reporting.charts import MOST_SERIES
from cluster.reporting.compare_figures import difference_figures, learnt_figures, time_figures, training_figures
from cluster.reporting.compare_pairs import NotComparable, Paired, pair
from cluster.reporting.pages import render, write_page
from curriculum.table import Table

NONE = "–"
_LONGEST_NAME = 20  # in a table's head or a chart


@dataclass(frozen=True)
class Comparison:
    """What is told of some runs together.

    Attributes:
        labels: what each is called in tables and charts: a letter of its own, and the name of its folder.
        paired: differences to the first run, or None.
        notes: what a reader must know before comparing, such as why there are no differences.
    """

    records: list[RunRecord]
    labels: list[str]
    paired: Paired | None
    notes: list[str]

    def table(self, title: str, what: str, rows: dict[str, Callable[[RunRecord], str]]) -> Table:
        """A column for each run."""
        return Table(
            title, (what, *self.labels), [(name, *(cell(r) for r in self.records)) for name, cell in rows.items()]
        )


def compare(folders: Sequence[Path]) -> Comparison:
    """Raises UserError where these are not two or more runs that can be read, none of them twice."""
    if len(folders) < 2:
        raise UserError(
            "compare: give two or more run folders, such as curlvpr compare runs/quickstart runs/quickstart-2"
        )
    if len(folders) > MOST_SERIES:
        raise UserError(f"compare: {len(folders)} runs are too many; at most {MOST_SERIES} have a colour of their own")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError(f"compare: the same run is given twice: {', '.join(map(str, folders))}")
    records = [RunRecord(folder) for folder in folders]
    labels = [f"{letter} {_short(folder.absolute().name)}" for letter, folder in zip("ABCDEFGH", folders)]
    try:
        paired = pair(records, labels)
    except NotComparable as error:
        return Comparison(
            records,
            labels,
            None,
            [f"Not compared task by task: {error}. Scores below are each run's own, on its own test tasks."],
        )
    return Comparison(records, labels, paired, list(_notes(records, paired)))


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Writes the page. Raises UserError where `out` cannot be a file."""
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UserError(
            f"--out {out}: " + ("is a folder; give a file" if out.is_dir() else "its folder does not exist")
        )
    records, labels, paired = comparison.records, comparison.labels, comparison.paired
    page = render(
        "compare.html.j2",
        runs=runs_table(comparison),
        short=short_table(comparison),
        notes=comparison.notes,
        recipe=recipe_table(comparison),
        stages=stage_table(comparison),
        scores=score_table(comparison),
        gains=gain_table(comparison),
        paired=paired,
        first=labels[0],
        differences=difference_table(comparison),
        difference_figures=difference_figures(paired, labels) if paired else [],
        learnt=learnt_figures(records, labels),
        training=training_figures(records, labels),
        time_figures=time_figures(records, labels),
        times=time_table(comparison),
        speeds=speed_table(comparison),
        ledger=ledger_table(comparison),
        written=datetime.now().astimezone(),
    )
    try:
        write_page(out, page)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error})") from error


def runs_table(comparison: Comparison) -> Table:
    return Table(
        "The runs",
        ("run", "folder", "recipe", "seed", "status", "why"),
        [
            (
                label,
                str(record.path),
                str(record.summary.get("recipe", NONE)),
                str(record.summary.get("seed", NONE)),
                str(record.summary["status"]),
                str(record.summary.get("why") or ""),
            )
            for label, record in zip(comparison.labels, comparison.records, strict=True)
        ],
    )


def short_table(comparison: Comparison) -> Table:
    """What the terminal shows, and the page first."""
    rows: dict[str, Callable[[RunRecord], str]] = {
        "status": lambda r: str(r.summary["status"]),
        "steps": lambda r: str(r.summary.get("steps", NONE)),
        "newest test": lambda r: r.tests[-1].words if r.tests else NONE,
    }
    for name in _measures(comparison, HEADLINES):
        rows[measure_words(name)] = lambda r, name=name: _newest(r, name)
        if comparison.paired:
            rows[f"{measure_words(name)}, minus A"] = lambda r, name=name: _difference(comparison, r, name)
    rows |= {"tokens/s": lambda r: _speed(r), "took": lambda r: duration(r.summary["seconds"]["all"])}
    return comparison.table("In short", "", rows)


def recipe_table(comparison: Comparison) -> Table:
    """The keys that the recipes do not all give the same value."""
    flat = [dict(_leaves(record.recipe)) for record in comparison.records]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    return Table(
        "Keys that differ",
        ("key", *comparison.labels),
        [(key, *(one.get(key, NONE) for one in flat)) for key in keys if len({one.get(key) for one in flat}) > 1],
    )


def stage_table(comparison: Comparison) -> Table:
    def cell(record: RunRecord, name: str) -> str:
        stage: StageHistory | None = next((stage for stage in record.stages if stage.name == name), None)
        if stage is None:
            return NONE
        return f"{stage.steps} steps; {f'{stage.reason}: ' if stage.reason else ''}{stage.why}"

    return comparison.table(
        "Stages and how they ended", "stage", {name: lambda r, name=name: cell(r, name) for name in _stages(comparison)}
    )


def score_table(comparison: Comparison) -> Table:
    every = _measures(comparison)
    rows = {measure_words(name): lambda r, name=name: _newest(r, name) for name in every}
    return comparison.table(
        "Every measure of the newest test",
        "measure",
        {"which test": lambda r: r.tests[-1].words if r.tests else NONE, **rows},
    )


def gain_table(comparison: Comparison) -> Table:
    def cell(record: RunRecord, stage: str, measure: str) -> str:
        gain = next((gain for gain in record.gains if (gain.stage, gain.measure) == (stage, measure)), None)
        if gain is None:
            return NONE
        return f"{gain.end}, gain {gain.gain.signed}" if gain.gain else f"{gain.start} at its start; not ended"

    measured = {(gain.stage, gain.measure) for record in comparison.records for gain in record.gains}
    keys = [(stage, measure) for stage in _stages(comparison) for measure in HEADLINES if (stage, measure) in measured]
    return comparison.table(
        "Test scores where the stages end, and their gains",
        "stage",
        {
            f"{stage}: {measure_words(measure)}": lambda r, key=(stage, measure): cell(r, *key)
            for stage, measure in keys
        },
    )


def difference_table(comparison: Comparison) -> Table | None:
    if comparison.paired is None:
        return None
    found = comparison.paired.differences
    names = dict.fromkeys(name for one in found for name in one)
    return Table(
        f"Newest test minus that of {comparison.labels[0]}",
        ("measure", *comparison.labels[1:]),
        [(measure_words(name), *(one[name].signed if name in one else NONE for one in found)) for name in names],
    )


def time_table(comparison: Comparison) -> Table:
    def cell(record: RunRecord, phase: str) -> str:
        spent, whole = record.phases.get(phase), record.summary["seconds"]["all"]
        return NONE if spent is None else duration(spent) + (f" ({spent / whole:.0%})" if whole else "")

    phases = dict.fromkeys(phase for record in comparison.records for phase in record.phases)
    rows = {phase: lambda r, phase=phase: cell(r, phase) for phase in phases}
    return comparison.table("Time by phase", "phase", {**rows, "all": lambda r: duration(r.summary["seconds"]["all"])})


def speed_table(comparison: Comparison) -> Table:
    return comparison.table(
        "Tokens a second, median of a stage's steps",
        "stage",
        {name: lambda r, name=name: _speed(r, name) for name in _stages(comparison)},
    )


def ledger_table(comparison: Comparison) -> Table:
    def cell(record: RunRecord, what: str) -> str:
        count = (record.summary.get("ledger") or {}).get(what)
        return NONE if count is None else f"{count:,}"

    return comparison.table(
        "Groups of responses",
        "",
        {
            what.replace("_", " "): lambda r, what=what: cell(r, what)
            for what in ("issued", "trained", "dropped", "in_flight")
        },
    )


def _notes(records: Sequence[RunRecord], paired: Paired) -> Iterator[str]:
    if any(count > paired.tasks for count in paired.tested):
        yield (
            f"Differences are taken on the {paired.tasks} tasks that all were tested on; the runs were tested on "
            f"{', '.join(map(str, paired.tested))} tasks."
        )
    if paired.patients < MIN_PATIENTS:
        yield f"The tests are about {paired.patients} patients: too few for the intervals to say much."
    rules = [json.dumps(record.recipe.get("reward", {}).get("rules"), sort_keys=True) for record in records]
    if len(set(rules)) > 1:
        yield "The recipes have different reward rules, and each run's answers count as its own rules scored them."


def _stages(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(stage.name for record in comparison.records for stage in record.stages))


def _measures(comparison: Comparison, among: Sequence[str] | dict[str, str] | None = None) -> list[str]:
    """The measures of the newest tests, all or some."""
    found = dict.fromkeys(name for record in comparison.records if record.tests for name in record.tests[-1].measures)
    return [name for name in among if name in found] if among is not None else list(found)


def _newest(record: RunRecord, name: str) -> str:
    found: Estimate | None = record.tests[-1].measures.get(name) if record.tests else None
    return NONE if found is None else str(found)


def _difference(comparison: Comparison, record: RunRecord, name: str) -> str:
    place = comparison.records.index(record)
    if place == 0 or comparison.paired is None or name not in comparison.paired.differences[place - 1]:
        return NONE
    return comparison.paired.differences[place - 1][name].signed


def _speed(record: RunRecord, stage: str | None = None) -> str:
    speeds = [value for name, _, value in record.points("tokens_per_s") if stage in (None, name)]
    return f"{median(speeds):,.0f}" if speeds else NONE


def _short(name: str) -> str:
    clean = "".join(sign if sign.isprintable() else "\ufffd" for sign in name)
    return clean if len(clean) <= _LONGEST_NAME else clean[: _LONGEST_NAME - 1] + "…"


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """("stages.closed.training.lr", "0.0001") and so on. Items of a list are called by their names, else by their numbers."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list) and any(isinstance(item, dict) for item in node):
        names = [item.get("name") if isinstance(item, dict) else None for item in node]
        named = None not in names
        if named:
            yield path, ", ".join(map(str, names))
        for number, item in enumerate(node):
            yield from _leaves(item, f"{path}.{names[number] if named else number}")
    else:
        yield path, node if isinstance(node, str) else json.dumps(node, ensure_ascii=False, default=str)
