"""What held-out responses are worth in sum: accuracy, F1, format rate, each with a bootstrap interval. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from curriculum.task import Task
from rewards.findings import canonical
from rewards.verdict import Verdict

Interval = tuple[float, float, float]
"""(value, low, high): a 95 % interval by the percentile bootstrap over tasks."""


@dataclass(frozen=True, slots=True)
class Result:
    """One held-out task, one response and its verdict."""

    task: Task
    text: str
    verdict: Verdict


class Scores:
    """Measures of a list of results.

    `closed_accuracy` and `family_accuracy` are shares of right final answers. Open answers are compared as sets of
    findings: micro-F1 pools all of them, macro-F1 is the mean over the findings that occur in the gold. An answer that
    cannot be read found nothing.
    """

    def __init__(self, results: Sequence[Result], resamples: int, seed: int = 0) -> None:
        self.results, self.resamples, self.seed = results, resamples, seed
        self.ids = [r.task.id for r in results]
        self.format = np.array([r.verdict.format for r in results])
        self.outcome = np.array([r.verdict.outcome for r in results])
        self.closed = np.array([r.task.domain == "closed" for r in results], bool)
        opened = [r for r in results if r.task.domain == "open"]
        gold = [{canonical(name) for name in r.task.gold} for r in opened]
        found = [set(r.verdict.answer or ()) for r in opened]
        names = sorted(set().union(*gold))
        # [open tasks, findings of the gold + 1]; the last column counts names outside of them
        self._hit = np.array([[*(n in g and n in f for n in names), 0] for g, f in zip(gold, found, strict=True)], float)
        self._gold = np.array([[*(n in g for n in names), 0] for g in gold], float)
        self._found = np.array([[*(n in f for n in names), len(f - set(names))] for f in found], float)

    def measures(self) -> dict[str, Interval]:
        """Every measure that the results allow, with its interval."""
        measured = {"format_rate": self._mean(self.format)}
        if self.closed.any():
            measured["closed_accuracy"] = self._mean(self.outcome[self.closed])
            measured["closed_format_rate"] = self._mean(self.format[self.closed])
        if (~self.closed).any():
            measured["open_format_rate"] = self._mean(self.format[~self.closed])
            measured["open_micro_f1"] = self._interval(len(self._gold), self._micro_f1)
            measured["open_macro_f1"] = self._interval(len(self._gold), self._macro_f1)
        families = defaultdict(list)
        for result, outcome in zip(self.results, self.outcome, strict=True):
            families[result.task.family].append(outcome)
        for family, outcomes in sorted(families.items()):
            kind = "accuracy" if any(r.task.family == family and r.task.domain == "closed" for r in self.results) else "f1"
            measured[f"{family}_{kind}"] = self._mean(np.array(outcomes))
        return measured

    def gain_over(self, before: "Scores") -> dict[str, Interval]:
        """How much closed accuracy and open micro-F1 rose since `before`, on the same tasks (paired bootstrap).

        Raises:
            ValueError: the tasks differ.
        """
        if self.ids != before.ids:
            raise ValueError("gains are measured on the same tasks in the same order")
        gains = {}
        if self.closed.any():
            gains["closed_accuracy"] = self._mean((self.outcome - before.outcome)[self.closed])
        if (~self.closed).any():
            gains["open_micro_f1"] = self._interval(len(self._gold), lambda w: self._micro_f1(w) - before._micro_f1(w))
        return gains

    # Each measure below takes weights [draws, tasks], how often a draw holds a task, and gives a value for each draw.

    def _micro_f1(self, weights: np.ndarray) -> np.ndarray:
        """2 hits / (gold + found), pooled over tasks; 0 where there is neither."""
        total = weights @ (self._gold + self._found).sum(1)
        return 2 * (weights @ self._hit.sum(1)) / np.maximum(total, 1)

    def _macro_f1(self, weights: np.ndarray) -> np.ndarray:
        """Mean F1 over the findings that occur in the gold of the draw."""
        hit, gold, found = weights @ self._hit[:, :-1], weights @ self._gold[:, :-1], weights @ self._found[:, :-1]
        occurs = gold > 0
        return (2 * hit / np.maximum(gold + found, 1) * occurs).sum(1) / np.maximum(occurs.sum(1), 1)

    def _mean(self, values: np.ndarray) -> Interval:
        return self._interval(len(values), lambda weights: weights @ values / len(values))

    def _interval(self, count: int, measure: Callable[[np.ndarray], np.ndarray]) -> Interval:
        draws = np.random.default_rng(self.seed).multinomial(count, np.full(count, 1 / count), self.resamples)
        values = measure(draws.astype(float))
        return float(measure(np.ones((1, count)))[0]), float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))
