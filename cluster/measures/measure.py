"""Measures that depend on the tasks only through sums over them, so that a bootstrap is one matrix product."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Key = TypeVar("Key", bound=Hashable)
_CELLS_AT_ONCE = 4_000_000  # of a matrix of draws: 32 MB


@dataclass(frozen=True)
class Measure:
    """A value of sums over tasks.

    Attributes:
        tasks: int [n], indices of the tasks that it is about, ascending.
        statistics: float [n, columns], what each task adds to the sums.
        value: takes sums [draws, columns], returns the measure's value [draws].
    """

    tasks: np.ndarray
    statistics: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]

    def among(self, chosen: np.ndarray) -> Measure:
        """The same measure over those tasks that `chosen`, bool [all tasks], keeps."""
        kept = chosen[self.tasks]
        return Measure(self.tasks[kept], self.statistics[kept], self.value)


def bootstrap(measures: Mapping[Key, Measure], units: np.ndarray, resamples: int, seed: int) -> dict[Key, np.ndarray]:
    """Each measure's value, and its value on each resample of whole units: float [1 + resamples].

    A value is NaN if a resample has none of the measure's tasks. The resamples depend only on the number of units,
    `resamples` and `seed`, so values of the same tasks can be subtracted pair by pair.

    Args:
        units: int [all tasks], the patient of each task, from 0. Answers about one patient are not independent.
    """
    sums: dict[Key, tuple[np.ndarray, np.ndarray]] = {}  # the units that a measure is about, and what each adds
    for key, measure in measures.items():
        of_task = units[measure.tasks]
        order = np.argsort(of_task, kind="stable")
        present, starts = np.unique(of_task[order], return_index=True)
        sums[key] = present, np.add.reduceat(measure.statistics[order], starts, axis=0)
    values: dict[Key, list[np.ndarray]] = {key: [] for key in measures}
    for weights in _draws(int(units.max(initial=0)) + 1, resamples, seed):
        for key, (present, added) in sums.items():
            drawn = weights[:, present]
            values[key].append(np.where(drawn.any(1), measures[key].value(drawn @ added), np.nan))
    return {key: np.concatenate(parts) for key, parts in values.items()}


def _draws(count: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each resample has each of `count` units, float [some, count], in parts. The first has each once."""
    yield np.ones((1, count))
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS_AT_ONCE // count)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        picked = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(picked.ravel(), minlength=rows * count).reshape(rows, count).astype(float)


def mean(tasks: np.ndarray, values: np.ndarray) -> Measure:
    """The mean of one number per task."""
    statistics = np.stack([values, np.ones(len(tasks))], 1).astype(float)
    return Measure(tasks, statistics, lambda s: s[:, 0] / np.maximum(s[:, 1], 1))


def micro_f1(tasks: np.ndarray, hit: np.ndarray, gold: np.ndarray, found: np.ndarray) -> Measure:
    """2 hits / (gold + found), pooled over tasks; 0 if there is neither.

    Args:
        hit, gold, found: [tasks, names], 1 where a task's answer and gold, its gold, its answer has the name.
    """
    statistics = np.stack([hit.sum(1), gold.sum(1) + found.sum(1)], 1).astype(float)
    return Measure(tasks, statistics, lambda s: 2 * s[:, 0] / np.maximum(s[:, 1], 1))


def macro_f1(tasks: np.ndarray, hit: np.ndarray, gold: np.ndarray, found: np.ndarray) -> Measure:
    """Mean F1 over the names that occur in the gold of the draw; arguments as in `micro_f1`."""

    def value(sums: np.ndarray) -> np.ndarray:
        hits, golds, founds = np.split(sums, 3, 1)
        return _mean_where(golds > 0, 2 * hits / np.maximum(golds + founds, 1))

    return Measure(tasks, np.hstack([hit, gold, found]).astype(float), value)


def macro_recall(tasks: np.ndarray, hit: np.ndarray, gold: np.ndarray) -> Measure:
    """Mean share of hits over the names that occur in the gold of the draw; arguments as in `micro_f1`."""

    def value(sums: np.ndarray) -> np.ndarray:
        hits, golds = np.split(sums, 2, 1)
        return _mean_where(golds > 0, hits / np.maximum(golds, 1))

    return Measure(tasks, np.hstack([hit, gold]).astype(float), value)


def bleu(tasks: np.ndarray, counts: np.ndarray) -> Measure:
    """Corpus BLEU-4 as sacrebleu computes it (exponential smoothing), in [0, 1].

    Args:
        counts: [tasks, 10]: length of answer, length of gold, n-grams of the answer that are in the gold, n-grams of
            the answer, each for n = 1 to 4.
    """

    def value(sums: np.ndarray) -> np.ndarray:
        answer, gold, hits, totals = sums[:, 0], sums[:, 1], sums[:, 2:6], sums[:, 6:]
        # The first n without a hit counts as half a hit, the second as a quarter.
        halved = 0.5 ** np.cumsum(hits == 0, 1)
        precision = np.where(hits > 0, hits, halved) / np.maximum(totals, 1)
        brevity = np.minimum(0, 1 - gold / np.maximum(answer, 1))
        sound = hits.any(1) & totals.all(1)
        return np.where(sound, np.exp(brevity + np.log(precision).mean(1)), 0.0)

    return Measure(tasks, counts.astype(float), value)


def _mean_where(occurs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean over the columns that occur; NaN in a draw that has none of them."""
    count = occurs.sum(1)
    return np.where(count > 0, (values * occurs).sum(1) / np.maximum(count, 1), np.nan)
