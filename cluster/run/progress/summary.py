"""summary.json: how a run goes, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cluster.config.recipe import Recipe
from cluster.measures import Interval
from cluster.record.validation import Validation
from cluster.run.context import RunContext

LARGEST = ("logp_diff_max", "ratio_diff_max")  # numbers of a step whose largest value is kept


class RunSummary:
    """Gathers what the summary holds and writes it.

    Attributes:
        evaluations: of each stage, the measures of its tests: {"start": …, "end": …, "gain": …}.
        baseline: the measures of the baseline that sees only the view, if there is one.
        largest: the largest values so far of the numbers in `LARGEST`.
        kept: validated versions whose weights are kept.
        forgetting: what was done about falls in the measures of earlier stages, oldest first.
        vetoes: versions that a source vetoed, and why, oldest first.
        model: what model/ holds, and why; empty before it is written.
    """

    def __init__(self, context: RunContext) -> None:
        self.recipe, self.writer, self.position = context.recipe, context.writer, context.position
        self.curriculum, self.ledger, self.phases = context.curriculum, context.ledger, context.phases
        self.sampler = context.sampler
        self.evaluations: dict[str, dict[str, Any]] = {stage.name: {} for stage in self.recipe.stages}
        self.baseline: dict[str, Interval] | None = None
        self.largest = dict.fromkeys(LARGEST, 0.0)
        self.kept: list[Validation] = []
        self.forgetting: list[dict[str, Any]] = []
        self.vetoes: list[dict[str, Any]] = []
        self.model: dict[str, Any] = {}

    def add_step(self, numbers: Mapping[str, Any]) -> None:
        """Takes the numbers of a step."""
        for name in self.largest:
            self.largest[name] = max(self.largest[name], numbers.get(name, 0.0))

    def write(self, status: str, why: str | None = None) -> dict[str, Any]:
        """Writes the summary of a run that is running, finished, stopped, failed or interrupted, and returns it."""
        stages = [
            {
                "name": record.name,
                "kind": record.kind,
                "steps": record.steps,
                "reason": record.reason,
                "scores": record.scores,
                **({"held_back": record.held_back} if record.held_back else {}),
                "evaluation": self.evaluations[record.name],
                **({"sampling": rows} if (rows := self.sampler.tally.rows(record.name)) else {}),
            }
            for record in self.curriculum.records
            if record.steps or self.evaluations[record.name]
        ]
        summary = _summary(
            status,
            self.recipe,
            self.writer.path,
            steps=self.position.step,
            version=self.position.version,
            stages=stages,
            **({"baseline": {"view": flat(self.baseline)}} if self.baseline else {}),
            **self.largest,
            **({"kept": [validation.to_dict() for validation in self.kept]} if self.kept else {}),
            **({"forgetting": self.forgetting} if self.forgetting else {}),
            **({"vetoes": self.vetoes} if self.vetoes else {}),
            **({"model": self.model} if self.model else {}),
            ledger=self.ledger.totals(),
            seconds={"all": self.phases.total(), **self.phases.seconds},
        )
        if why:
            summary["why"] = why
        if status != "running":
            with suppress(OSError):  # as on a full disk; the summary is smaller, and is tried itself
                self.writer.flush()  # whoever sees that the run has ended finds its last rows
        self.writer.write_summary(summary)
        return summary


def empty_summary(status: str, why: str, recipe: Recipe, run: Path) -> dict[str, Any]:
    """The summary of a run in the folder `run` that ended before its workers had started."""
    ledger = {"issued": 0, "trained": 0, "dropped": 0, "in_flight": 0}
    return _summary(status, recipe, run, why=why, steps=0, version=0, stages=[], ledger=ledger, seconds={"all": 0.0})


def flat(measures: Mapping[str, Interval]) -> dict[str, Any]:
    """Measures as the summary holds them: values by name, and their 95 % intervals beside them."""
    values = {name: value for name, (value, _, _) in measures.items()}
    return {**values, "intervals": {name: [low, high] for name, (_, low, high) in measures.items()}}


def _summary(status: str, recipe: Recipe, run: Path, **rest: Any) -> dict[str, Any]:
    return {"status": status, "name": run.name, "recipe": recipe.name, "seed": recipe.seed, **rest}
