"""The experiments: a recipe, and variants of its settings.

Where variants are compared, every stage of reinforcement learning has a fixed number of steps, whatever the score, so
that all of them sample equally many responses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.learning.policy_traces import write_policy_traces

QUICKSTART, REPORTS = Path("recipes/quickstart.yaml"), Path("recipes/reports_smollm2.yaml")
COLD_START, AFTER_SFT = Path("bench/learning/cold_start.yaml"), Path("bench/learning/after_sft.yaml")


@dataclass(frozen=True)
class Experiment:
    """Variants of a recipe, the first of which is what the others are compared with.

    Attributes:
        variants: name to its `--set` arguments.
        settings: those of all variants.
        start: the experiment from whose run, of its first variant and the same seed, all variants go on after the
            supervised stage; where left out, each has a run of its own from the beginning.
        prepare: takes the folder of runs and the seed, makes what the variants read, and returns further settings.
    """

    recipe: Path
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"as it is": ()})
    settings: tuple[str, ...] = ()
    start: str | None = None
    prepare: Callable[[Path, int], tuple[str, ...]] | None = None

    @property
    def first(self) -> str:
        return next(iter(self.variants))


def fixed(steps: int, validations: int = 4) -> tuple[str, ...]:
    """The closed and the open stage with so many steps each."""
    every = steps // validations
    gate = {"every": every, "min_steps": every, "max_steps": steps, "threshold": "null", "plateau": "null"}
    return tuple(f"stages.{stage}.gate.{key}={value}" for stage in ("closed", "open") for key, value in gate.items())


def training(setting: str) -> tuple[str, ...]:
    """A setting of both stages of reinforcement learning."""
    return tuple(f"stages.{stage}.training.{setting}" for stage in ("closed", "open"))


VARIANTS = {
    "as it is": (),
    "credit response": training("credit=response"),
    "credit return": training("credit=return"),
    "no process": (*training("credit=response"), "reward.rules.process=0"),
    "adaptive sampling": training("sampling=adaptive"),
    "one step ahead": (*training("max_staleness=1"), *training("correction=token")),
}

EXPERIMENTS = {
    "quickstart": Experiment(QUICKSTART),
    "variants": Experiment(QUICKSTART, VARIANTS, fixed(20), start="quickstart"),
    "traces": Experiment(
        COLD_START, {name: (f"data.tasks=data/cold_start/{name}",) for name in ("template", "report")}
    ),
    "policy_traces": Experiment(
        AFTER_SFT,
        {"none": ("stages.policy.gate.max_steps=1", "stages.policy.training.lr=1e-12"), "policy traces": ()},
        (*fixed(12, validations=1), "rollout.workers=1", "learner.workers=1"),
        prepare=write_policy_traces,
    ),
    "reports": Experiment(REPORTS),
    "reports_variants": Experiment(
        REPORTS,
        {"as it is": (), "adaptive sampling": training("sampling=adaptive")},
        start="reports",
    ),
}
