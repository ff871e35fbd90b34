"""The experiments: a recipe, and variants of its settings.

Where variants are compared, every stage of reinforcement learning has a fixed number of steps, whatever the score, so
that all of them sample equally many responses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

QUICKSTART, REPORTS = Path("recipes/quickstart.yaml"), Path("recipes/reports_smollm2.yaml")


@dataclass(frozen=True)
class Experiment:
    """Variants of a recipe, the first of which is what the others are compared with.

    Attributes:
        variants: name to its `--set` arguments.
        settings: those of all variants.
        start: the experiment from whose run, of its first variant and the same seed, all variants go on after the
            supervised stage; where left out, each has a run of its own from the beginning.
    """

    recipe: Path
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"as it is": ()})
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


CREDIT = {
    "step": training("credit=step"),
    "return": training("credit=return"),
    "response": training("credit=response"),
    "no process": (*training("credit=response"), "reward.rules.process=0"),
}
SAMPLING = {"uniform": (), "adaptive": training("sampling=adaptive")}

EXPERIMENTS = {
    "quickstart": Experiment(QUICKSTART),
    "credit": Experiment(QUICKSTART, CREDIT, fixed(20), start="quickstart"),
    "sampling": Experiment(QUICKSTART, SAMPLING, fixed(20), start="quickstart"),
    "reports": Experiment(REPORTS),
    "reports_credit": Experiment(REPORTS, {"response": (), "no process": ("reward.rules.process=0",)}, start="reports"),
    "reports_sampling": Experiment(REPORTS, SAMPLING, start="reports"),
}
