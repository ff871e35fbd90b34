"""Every measure of a list of results with its interval, and its difference to another model's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from cluster.measures.forms import findings_of, measures_by_form, measures_of
from cluster.measures.measure import Measure, bootstrap, mean
from cluster.measures.result import Result
from cluster.measures.strata import frequency_group, strata

Interval = tuple[float, float, float]
"""(value, low, high): a 95 % interval by the percentile bootstrap over patients."""
MIN_PATIENTS = 10
"""Resamples of fewer patients say too little for an interval."""
Path = tuple[str, ...]
"""The place of a measure: ("overall", "closed_accuracy"), ("families", "binary", "accuracy"),
("findings", "Mass", "recall"), ("frequency", "tail", "macro_f1"), ("strata", "view", "PA", "closed_accuracy")."""


class Scores:
    """Measures of a list of results.

    Args:
        results: one answer to each task. Only scores of the same tasks in the same order can be compared.
        shares: each finding's share of the train films; others have the share 0. If given, single findings and strata
            are measured too, and unless it is empty also findings by frequency.
        bertscore: as in `measures_by_form`.
        sources: whether each source is measured too.
    """

    def __init__(
        self,
        results: Sequence[Result],
        resamples: int,
        seed: int = 0,
        shares: Mapping[str, float] | None = None,
        bertscore: Mapping[str, Sequence[float]] | None = None,
        sources: bool = False,
    ) -> None:
        self.resamples, self.seed = resamples, seed
        self.ids = [r.task.id for r in results]
        # Without a named patient, a film counts as one; a question without films counts for itself.
        patients = [r.task.patient or next(iter(r.task.images), r.task.id) for r in results]
        _, self.units = np.unique(patients, return_inverse=True)
        forms = measures_by_form(results, bertscore or {})
        self.paths: dict[Path, Measure] = _overall(results, forms) | _families(results, forms)
        if shares is not None:
            self.paths |= _findings(results, shares) | _strata(results, forms)
        if sources:
            self.paths |= _sources(results, forms)

    def measures(self) -> dict[str, Interval]:
        """Measures overall, of families and of sources by name: "closed_accuracy", "binary_accuracy",
        "mimic_closed_accuracy"."""
        return _named(self.intervals())

    def gain_over(self, before: Scores) -> dict[str, Interval]:
        """As `measures`, minus those of `before`, on the same tasks (paired bootstrap).

        Raises:
            ValueError: the tasks differ.
        """
        return _named(self.differences(before))

    def intervals(self) -> dict[Path, Interval]:
        """Every measure by its place."""
        return {path: _interval(values) for path, values in self._values.items()}

    def differences(self, other: Scores) -> dict[Path, Interval]:
        """Each measure minus that of `other`, on the same tasks (paired bootstrap).

        Raises ValueError: the tasks differ.
        """
        if self.ids != other.ids:
            raise ValueError("gains are measured on the same tasks in the same order")
        return {
            path: _interval(values - other._values[path])
            for path, values in self._values.items()
            if path in other._values
        }

    def statistics(self, name: str) -> list[list[float]]:
        """What each task adds to the sums of an overall measure, [tasks, columns]; `change` takes it later."""
        rows: list[list[float]] = self.paths["overall", name].statistics.tolist()
        return rows

    def change(self, name: str, statistics: Sequence[Sequence[float]]) -> Interval:
        """An overall measure minus what it was with other answers to the same tasks (paired bootstrap).

        Args:
            statistics: of those answers, from `statistics`.

        Raises:
            ValueError: the number of tasks differs.
        """
        now = self.paths["overall", name]
        before = np.asarray(statistics, float)
        if before.shape != now.statistics.shape:
            raise ValueError(f"{name} was measured on {len(before)} tasks before, on {len(now.tasks)} now")
        measures = {"now": now, "before": Measure(now.tasks, before, now.value)}
        values = bootstrap(measures, self.units, self.resamples, self.seed)
        return _interval(values["now"] - values["before"])

    @cached_property
    def _values(self) -> dict[Path, np.ndarray]:
        return bootstrap(self.paths, self.units, self.resamples, self.seed)


Forms = Mapping[str, Mapping[str, Measure]]


def _overall(results: Sequence[Result], forms: Forms) -> dict[Path, Measure]:
    overall = _format_rate(results)
    for form, measures in forms.items():
        overall |= {f"{measures_of(form).prefix}_{name}": measure for name, measure in measures.items()}
    return {("overall", name): measure for name, measure in overall.items()}


def _families(results: Sequence[Result], forms: Forms) -> dict[Path, Measure]:
    of = np.array([r.task.family for r in results])
    paths: dict[Path, Measure] = {}
    for measures in (*forms.values(), _format_rate(results)):  # all forms together last, since a family may have two
        for name, measure in measures.items():
            for family in np.unique(of[measure.tasks]):
                paths["families", str(family), name] = measure.among(of == family)
    return paths


def _format_rate(results: Sequence[Result]) -> dict[str, Measure]:
    formats = np.array([r.verdict.format for r in results])
    return {"format_rate": mean(np.arange(len(results)), formats)} if len(results) else {}


def _findings(results: Sequence[Result], shares: Mapping[str, float]) -> dict[Path, Measure]:
    named = findings_of(results)
    paths: dict[Path, Measure] = {}
    groups: dict[str, list[str]] = {"head": [], "medium": [], "tail": []}
    for name in named.names:
        groups[frequency_group(shares.get(name, 0.0))].append(name)
        paths["findings", name, "recall"], paths["findings", name, "f1"] = named.recall([name]), named.micro_f1([name])
    for group, names in groups.items():
        if shares and names:
            paths["frequency", group, "recall"] = named.recall(names)
            paths["frequency", group, "macro_f1"] = named.macro_f1(names)
    return paths


def _strata(results: Sequence[Result], forms: Forms) -> dict[Path, Measure]:
    of = [strata(r.task) for r in results]
    paths: dict[Path, Measure] = {}
    for kind in of[0]:
        labels = np.array([stratum[kind] for stratum in of])
        if not (labels == labels[0]).all():  # a single stratum is the whole again
            paths |= {("strata", kind, *path): measure for path, measure in _by_label(labels, forms).items()}
    return paths


def _sources(results: Sequence[Result], forms: Forms) -> dict[Path, Measure]:
    labels = np.array([r.task.source for r in results])
    return {("sources", *path): measure for path, measure in _by_label(labels, forms).items()}


def _by_label(labels: np.ndarray, forms: Forms) -> dict[Path, Measure]:
    """The main measures of each form among the tasks of each label: ("PA", "closed_accuracy")."""
    paths: dict[Path, Measure] = {}
    for label in np.unique(labels):
        for form, measures in forms.items():
            for name in measures_of(form).main:
                measure = measures[name].among(labels == label) if name in measures else None
                if measure is not None and len(measure.tasks):
                    paths[str(label), f"{measures_of(form).prefix}_{name}"] = measure
    return paths


def _named(intervals: Mapping[Path, Interval]) -> dict[str, Interval]:
    named = ("overall", "families", "sources")
    return {"_".join(path[1:]): interval for path, interval in intervals.items() if path[0] in named}


def _interval(values: np.ndarray) -> Interval:
    draws = values[1:][~np.isnan(values[1:])]
    value = float(values[0])
    if not len(draws):
        return value, value, value
    ends: np.ndarray = np.asarray(np.quantile(draws, (0.025, 0.975)))
    return value, float(ends[0]), float(ends[1])
