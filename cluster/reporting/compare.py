"""`curlvpr compare`: several runs side by side in one page. Reads the run folders alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from cluster.errors import UserError
from cluster.measures import MIN_PATIENTS
from cluster.measures.headlines import HEADLINES, measure_words
from cluster.outputs import told
from cluster.record.run_reader import RunRecord, duration
from cluster.reporting.charts import MAX_SERIES
from cluster.reporting.compare_figures import difference_figures, learnt_figures, time_figures, training_figures
from cluster.reporting.compare_pairs import NotComparable, Paired, pair
from cluster.reporting.pages import render, write_page
from curriculum.table import Table

NONE = "–"
_MAX_NAME = 20  # characters in a table's head or a chart


@dataclass(frozen=True)
class Comparison:
    """Several runs side by side.

    Attributes:
        labels: the name of each in tables and charts: a letter, and the name of its folder.
        paired: differences to the first run; None if the runs cannot be compared task by task.
        notes: what a reader must know before comparing, such as why there are no differences.
    """

    records: list[RunRecord]
    labels: list[str]
    paired: Paired | None
    notes: list[str]

    def cells(self, cell: Callable[..., str], *args: Any) -> list[str]:
        """What `cell(record, *args)` returns for each run."""
        return [cell(record, *args) for record in self.records]

    def table(self, title: str, head: str, rows: Mapping[str, Sequence[str]]) -> Table:
        """A table with a column for each run.

        `rows` are the cells of each row by its name; `head` is above the names.
        """
        return Table(title, (head, *self.labels), [(name, *cells) for name, cells in rows.items()])


def compare(folders: Sequence[Path]) -> Comparison:
    """Compares runs with the first. Raises UserError: fewer than two runs, one twice, or one that cannot be read."""
    if len(folders) < 2:
        raise UserError(
            "compare: give two or more run folders, such as curlvpr compare runs/quickstart runs/quickstart-2"
        )
    if len(folders) > MAX_SERIES:
        raise UserError(f"compare: {len(folders)} runs are too many; at most {MAX_SERIES} have a colour of their own")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError(f"compare: the same run is given twice: {', '.join(map(str, folders))}")
    records = [RunRecord(folder) for folder in folders]
    labels = [f"{letter} {_short(folder.absolute().name)}" for letter, folder in zip("ABCDEFGH", folders, strict=False)]
    try:
        paired = pair(records, labels)
    except NotComparable as error:
        note = f"Not compared task by task: {error}. Scores below are each run's own, on its own test tasks."
        return Comparison(records, labels, None, [note])
    return Comparison(records, labels, paired, list(_notes(records, paired)))


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Writes the page. Raises UserError: `out` cannot be written."""
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
    with told("--out", out):
        write_page(out, page)


def runs_table(comparison: Comparison) -> Table:
    rows: list[tuple[str, ...]] = []
    for label, record in zip(comparison.labels, comparison.records, strict=True):
        summary = record.summary
        recipe, seed = str(summary.get("recipe", NONE)), str(summary.get("seed", NONE))
        rows.append((label, str(record.path), recipe, seed, str(summary["status"]), str(summary.get("why") or "")))
    return Table("The runs", ("run", "folder", "recipe", "seed", "status", "why"), rows)


def short_table(comparison: Comparison) -> Table:
    """The table that the terminal shows; the page shows it first."""
    cells = comparison.cells
    rows = {
        "status": cells(lambda record: str(record.summary["status"])),
        "steps": cells(lambda record: str(record.summary.get("steps", NONE))),
        "newest test": cells(_newest_test),
    }
    for name in _measures(comparison, HEADLINES):
        rows[measure_words(name)] = cells(_newest, name)
        if comparison.paired:
            rows[f"{measure_words(name)}, minus A"] = [
                _difference(comparison, number, name) for number in range(len(comparison.records))
            ]
    rows["tokens/s"] = cells(_speed)
    rows["took"] = cells(_duration)
    return comparison.table("In short", "", rows)


def recipe_table(comparison: Comparison) -> Table:
    """The keys whose values differ between the recipes."""
    recipes = [dict(_recipe_leaves(record.recipe)) for record in comparison.records]
    keys = dict.fromkeys(key for recipe in recipes for key in recipe)
    rows = []
    for key in keys:
        values = [recipe.get(key) for recipe in recipes]
        if len(set(values)) > 1:
            rows.append((key, *(NONE if value is None else value for value in values)))
    return Table("Keys that differ", ("key", *comparison.labels), rows)


def stage_table(comparison: Comparison) -> Table:
    rows = {name: comparison.cells(_stage_end, name) for name in _stages(comparison)}
    return comparison.table("Stages and how they ended", "stage", rows)


def score_table(comparison: Comparison) -> Table:
    rows = {"which test": comparison.cells(_newest_test)}
    for name in _measures(comparison):
        rows[measure_words(name)] = comparison.cells(_newest, name)
    return comparison.table("Every measure of the newest test", "measure", rows)


def gain_table(comparison: Comparison) -> Table:
    measured = {(gain.stage, gain.measure) for record in comparison.records for gain in record.gains}
    rows = {}
    for stage in _stages(comparison):
        for measure in HEADLINES:
            if (stage, measure) in measured:
                rows[f"{stage}: {measure_words(measure)}"] = comparison.cells(_gain, stage, measure)
    return comparison.table("Test scores where the stages end, and their gains", "stage", rows)


def difference_table(comparison: Comparison) -> Table | None:
    """The paired differences to the first run; None if there are none."""
    if comparison.paired is None:
        return None
    differences = comparison.paired.differences
    rows = []
    for name in dict.fromkeys(name for of_run in differences for name in of_run):
        cells = [of_run[name].signed if name in of_run else NONE for of_run in differences]
        rows.append((measure_words(name), *cells))
    return Table(f"Newest test minus that of {comparison.labels[0]}", ("measure", *comparison.labels[1:]), rows)


def time_table(comparison: Comparison) -> Table:
    phases = dict.fromkeys(phase for record in comparison.records for phase in record.phases)
    rows = {phase: comparison.cells(_phase, phase) for phase in phases}
    rows["all"] = comparison.cells(_duration)
    return comparison.table("Time by phase", "phase", rows)


def speed_table(comparison: Comparison) -> Table:
    rows = {name: comparison.cells(_speed, name) for name in _stages(comparison)}
    return comparison.table("Tokens a second, median of a stage's steps", "stage", rows)


def ledger_table(comparison: Comparison) -> Table:
    rows = {
        event.replace("_", " "): comparison.cells(_group_count, event)
        for event in ("issued", "trained", "dropped", "in_flight")
    }
    return comparison.table("Groups of responses", "", rows)


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
    """The names of all stages, in the order of the runs."""
    return list(dict.fromkeys(stage.name for record in comparison.records for stage in record.stages))


def _measures(comparison: Comparison, among: Iterable[str] | None = None) -> list[str]:
    """The measures of the newest tests, all or only those in `among`."""
    measured = dict.fromkeys(
        name for record in comparison.records if record.tests for name in record.tests[-1].measures
    )
    return list(measured) if among is None else [name for name in among if name in measured]


# -- cells: a run's entry in a row ------------------------------------------------------------------------------------


def _newest_test(record: RunRecord) -> str:
    return record.tests[-1].words if record.tests else NONE


def _newest(record: RunRecord, measure: str) -> str:
    estimate = record.tests[-1].measures.get(measure) if record.tests else None
    return NONE if estimate is None else str(estimate)


def _difference(comparison: Comparison, number: int, measure: str) -> str:
    """The paired difference of the run with this number from 0; the first has none."""
    if number == 0 or comparison.paired is None:
        return NONE
    difference = comparison.paired.differences[number - 1].get(measure)
    return NONE if difference is None else difference.signed


def _stage_end(record: RunRecord, name: str) -> str:
    stage = next((stage for stage in record.stages if stage.name == name), None)
    if stage is None:
        return NONE
    reason = f"{stage.reason}: " if stage.reason else ""
    return f"{stage.steps} steps; {reason}{stage.why}"


def _gain(record: RunRecord, stage: str, measure: str) -> str:
    gain = next((gain for gain in record.gains if (gain.stage, gain.measure) == (stage, measure)), None)
    if gain is None:
        return NONE
    return f"{gain.end}, gain {gain.gain.signed}" if gain.gain else f"{gain.start} at its start; not ended"


def _phase(record: RunRecord, phase: str) -> str:
    spent, whole = record.phases.get(phase), record.summary["seconds"]["all"]
    if spent is None:
        return NONE
    return duration(spent) + (f" ({spent / whole:.0%})" if whole else "")


def _duration(record: RunRecord) -> str:
    return duration(record.summary["seconds"]["all"])


def _speed(record: RunRecord, stage: str | None = None) -> str:
    """Median tokens per second of a stage's steps, or of all steps."""
    speeds = [value for name, _, value in record.points("tokens_per_s") if stage in (None, name)]
    return f"{median(speeds):,.0f}" if speeds else NONE


def _group_count(record: RunRecord, event: str) -> str:
    count = (record.summary.get("ledger") or {}).get(event)
    return NONE if count is None else f"{count:,}"


def _short(name: str) -> str:
    clean = "".join(sign if sign.isprintable() else "\ufffd" for sign in name)
    return clean if len(clean) <= _MAX_NAME else clean[: _MAX_NAME - 1] + "…"


def _recipe_leaves(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of a recipe as text: ("stages.closed.training.lr", "0.0001") and so on.

    Items of a list are called by their names; by their numbers if one has none.
    """
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _recipe_leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list) and any(isinstance(item, dict) for item in node):
        names = [item.get("name") if isinstance(item, dict) else None for item in node]
        named = None not in names
        if named:
            yield path, ", ".join(map(str, names))
        for number, item in enumerate(node):
            yield from _recipe_leaves(item, f"{path}.{names[number] if named else number}")
    else:
        yield path, node if isinstance(node, str) else json.dumps(node, ensure_ascii=False, default=str)
