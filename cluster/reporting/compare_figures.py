"""The charts that compare runs: one for each number, with a line for each run, in the same colour everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cluster.measures.headlines import HEADLINES, measure_words
from cluster.record.run_reader import Estimate, RunRecord, duration
from cluster.reporting.charts import Series, StageAxis, curves, stacks, whiskers
from cluster.reporting.compare_pairs import Paired
from cluster.reporting.report_figures import TRAINING, Figure, tested, timeline_of

_PARTS = (("Reward", "reward"), ("Outcome", "outcome"), ("Format", "format"), ("Process", "process"))


def learnt_figures(records: Sequence[RunRecord], labels: Sequence[str]) -> list[Figure]:
    """Each headline measure on the test and on the validation tasks."""
    figures = []
    for measure, words in HEADLINES.items():
        title = words[0].upper() + words[1:]
        test = [tested(record, measure) for record in records]
        figures += _figure(
            f"{title}, test",
            test,
            records,
            labels,
            "Where a stage starts and ends, with 95\u00a0% intervals. "
            "Every stage has the same width; it is that of the run with most steps in it.",
            share=True,
        )
        validation = [Series("", record.points(measure, "val"), marked=True) for record in records]
        figures += _figure(
            f"{title}, validation", validation, records, labels, "These tasks decide the gates.", share=True
        )
    return figures


def training_figures(records: Sequence[RunRecord], labels: Sequence[str]) -> list[Figure]:
    """Every number of the steps that a run's own report shows."""

    def figure(title: str, column: str, caption: str, imitated: bool = False, **style: Any) -> list[Figure]:
        lines = []
        for record in records:
            stages = {stage.name for stage in record.stages if stage.imitates or not imitated}
            lines.append(Series("", [point for point in record.points(column) if point[0] in stages]))
        return _figure(title, lines, records, labels, caption, **style)

    figures = []
    for title, column in _PARTS:
        figures += figure(title, column, "Mean over the responses of a step, which are sampled.")
    figures += figure("Supervised loss", "loss", "On gold traces or accepted responses.", imitated=True)
    for title, columns, caption, style in TRAINING:
        for column, words in columns.items():
            figures += figure(title if len(columns) == 1 else f"{title}, {words}", column, caption, **style)
    return figures


def time_figures(records: Sequence[RunRecord], labels: Sequence[str]) -> list[Figure]:
    """Where the time of each run went."""
    rows = {
        label: {name: spent / 60 for name, spent in record.phases.items() if spent > 0}
        for label, record in zip(labels, records, strict=True)
    }
    if not any(rows.values()):
        return []
    alt = "; ".join(f"{label}: {_minutes_words(row)}" for label, row in rows.items())
    return [
        Figure(
            "Time by phase",
            stacks(rows, "minutes", f"Minutes by phase. {alt}."),
            "Other is start-up and waiting. The colours are those of the phases here, not of the runs.",
        )
    ]


def _minutes_words(row: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {duration(60 * spent)}" for name, spent in row.items())


def difference_figures(paired: Paired, labels: Sequence[str]) -> list[Figure]:
    """The paired differences of the headline measures."""
    figures = []
    for measure in HEADLINES:
        measured: list[tuple[int, Estimate]] = [
            (run, differences[measure])
            for run, differences in enumerate(paired.differences, 1)
            if measure in differences
        ]
        if measured:
            rows = [(labels[run], d.value, d.low, d.high) for run, d in measured]
            alt = "; ".join(f"{labels[run]} {d.signed}" for run, d in measured)
            title = f"Difference in {measure_words(measure)}"
            svg = whiskers(rows, f"{title} to {labels[0]}, with 95 % intervals: {alt}.", [run for run, _ in measured])
            figures.append(
                Figure(
                    title,
                    svg,
                    f"Newest test minus that of {labels[0]}, paired by task. An interval that includes "
                    "0 shows no clear difference.",
                )
            )
    return figures


def _figure(
    title: str, lines: Sequence[Series], records: Sequence[RunRecord], labels: Sequence[str], caption: str, **style: Any
) -> list[Figure]:
    """A chart with a line for each run that has points; none if no run has any."""
    series = [
        replace(line, name=label, colour=number)
        for number, (label, line) in enumerate(zip(labels, lines, strict=True))
        if line.points
    ]
    if not series:
        return []
    alt = "; ".join(f"{line.name} from {line.points[0][2]:.3g} to {line.points[-1][2]:.3g}" for line in series)
    return [
        Figure(title, curves(series, _common_timeline(records), f"{title} over the steps: {alt}.", **style), caption)
    ]


def _common_timeline(records: Sequence[RunRecord]) -> StageAxis:
    """All stages in the order of the runs; each has the steps of the run that made the most in it."""
    steps: dict[str, int] = {}
    order: list[str] = []
    for record in records:
        position = 0
        for name, count in timeline_of(record).stages.items():
            if name not in steps:
                order.insert(position, name)
            position = order.index(name) + 1
            steps[name] = max(count, steps.get(name, 0))
    return StageAxis({name: steps[name] for name in order})
