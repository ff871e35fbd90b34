"""The experiments: a recipe, and variants of its settings.

Where variants are compared, every stage of reinforcement learning has a fixed number of steps, whatever the score, so
that all of them sample equally many responses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

QUICKSTART, REPORTS = Path("recipes/quickstart.yaml"), Path("recipes/reports_smollm2.yaml")
COLD_START = Path("bench/learning/cold_start.yaml")


@dataclass(frozen=True)
class Variant:
    """`--set` arguments, and a stage of its own after the supervised one."""

    settings: tuple[str, ...] = ()
    stage: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Experiment:
    """Variants of a recipe, the first of which is what the others are compared with.

    Attributes:
        settings: `--set` arguments of all variants.
        start: the experiment from whose run, of its first variant and the same seed, all variants go on after the
            supervised stage; where left out, each has a run of its own from the beginning.
    """

    recipe: Path
    variants: Mapping[str, Variant] = field(default_factory=lambda: {"as it is": Variant()})
    settings: tuple[str, ...] = ()
    start: str | None = None

    @property
    def first(self) -> str:
        return next(iter(self.variants))


def fixed(steps: int) -> tuple[str, ...]:
    """The closed and the open stage with so many steps each, validated four times."""
    gate = {"every": steps // 4, "min_steps": steps // 4, "max_steps": steps, "threshold": "null", "plateau": "null"}
    return tuple(f"stages.{stage}.gate.{key}={value}" for stage in ("closed", "open") for key, value in gate.items())


def training(setting: str) -> tuple[str, ...]:
    """A setting of both stages of reinforcement learning."""
    return tuple(f"stages.{stage}.training.{setting}" for stage in ("closed", "open"))


REJECTION_SAMPLING = {
    "name": "rft",
    "kind": "rft",
    "tasks": {"binary": 1, "single_choice": 1, "multiple_choice": 1, "diagnosis": 1},
    "gate": {"measure": "closed_accuracy", "every": 15, "min_steps": 15, "max_steps": 15},
    "training": {"lr": 2.0e-4, "tasks_per_step": 64, "group_size": 4, "optimiser": "keep"},
}
VARIANTS = {
    "as it is": Variant(),
    "credit response": Variant(training("credit=response")),
    "credit return": Variant(training("credit=return")),
    "no process": Variant((*training("credit=response"), "reward.rules.process=0")),
    "adaptive sampling": Variant(training("sampling=adaptive")),
    "rejection sampling first": Variant(stage=REJECTION_SAMPLING),
}

EXPERIMENTS = {
    "quickstart": Experiment(QUICKSTART),
    "variants": Experiment(QUICKSTART, VARIANTS, fixed(20), start="quickstart"),
    "traces": Experiment(
        COLD_START, {name: Variant((f"data.tasks=data/cold_start/{name}",)) for name in ("template", "report")}
    ),
    "reports": Experiment(REPORTS),
    "reports_variants": Experiment(
        REPORTS,
        {"as it is": Variant(), "adaptive sampling": Variant(training("sampling=adaptive"))},
        start="reports",
    ),
}
