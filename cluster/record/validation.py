"""What a version scored on the validation tasks, and which versions are the best by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cluster.measures import Interval
from cluster.measures.headlines import measure_words


@dataclass(frozen=True)
class Validation:
    """A version, and its score by the measure that ranks the versions of its stage.

    Attributes:
        stage: in which it was trained and validated.
        step: of the run.
        stage_step: of the stage.
        version: number of its weights.
        measure: name of the measure.
        score: its value and the ends of its 95 % interval, from answers that no gate was applied to.
        lost: earlier stages whose own measure is lower than at their end, beyond its paired 95 % interval: how much.
        vetoed: the source that vetoes it, and how much it lost there (`checkpoint.best.veto`).
    """

    stage: str
    step: int
    stage_step: int
    version: int
    measure: str
    score: Interval
    lost: Mapping[str, Interval] = field(default_factory=dict)
    vetoed: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def key(self) -> tuple[bool, bool, float]:
        """The better of two versions of a stage has the greater key: first of all, no source vetoes it; then, nothing
        learnt before was lost.
        """
        return not self.vetoed, not self.lost, self.score[0]

    @property
    def words(self) -> str:
        """Where it is and what it scored: "step 40 (closed 20): validation closed accuracy 0.612 [0.560, 0.660]"."""
        value, low, high = self.score
        lost = "".join(f"; lost {-change:.3f} of stage {stage}" for stage, (change, _, _) in self.lost.items())
        vetoed = "".join(f"; vetoed by source {name}" for name in self.vetoed)
        return (
            f"step {self.step} ({self.stage} {self.stage_step}): validation {measure_words(self.measure)} "
            f"{value:.3f} [{low:.3f}, {high:.3f}]{lost}{vetoed}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Validation:
        """What `to_dict` returned. Raises TypeError, ValueError or KeyError: it is not that."""
        lost = {stage: _interval(change) for stage, change in values["lost"].items()}
        of_veto = values.get("vetoed", {})  # an earlier release has none
        vetoed = {source: _interval(change) for source, change in of_veto.items()}
        return cls(**{**values, "score": _interval(values["score"]), "lost": lost, "vetoed": vetoed})


def best_of_each_stage(validations: Iterable[Validation], keep: int) -> list[Validation]:
    """The `keep` best versions of every stage; of two that are equally good the later one comes first."""
    by_stage: dict[str, list[Validation]] = {}
    for validation in validations:
        by_stage.setdefault(validation.stage, []).append(validation)
    best: list[Validation] = []
    for of_stage in by_stage.values():
        best += sorted(of_stage, key=lambda v: (v.key, v.step), reverse=True)[:keep]
    return best


def _interval(ends: Any) -> Interval:
    value, low, high = map(float, ends)
    return value, low, high
