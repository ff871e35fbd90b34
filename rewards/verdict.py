"""A verdict: what a response is worth, in parts, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

StepMark = Literal["right", "wrong", "unverifiable", "fault"]


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """The judgement of one think–answer pair.

    `start` and `end` are character offsets in the response, tags included, end exclusive.
    `candidate` is the option letter or finding name that the step judges, None for a summary or a list;
    steps of a group with the same candidate are compared with each other when credit is given by step.
    `score` is in [0, 1].
    """

    start: int
    end: int
    candidate: str | None
    mark: StepMark
    score: float
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The score of one response.

    `format`, `outcome` and `process` are in [0, 1]; `total` is their weighted sum after gates.
    `base` is the total without the process part, which is what step credit adds to.
    """

    total: float
    base: float
    format: float
    outcome: float
    process: float
    answer: tuple[str, ...] | None
    steps: tuple[StepVerdict, ...] = ()
    faults: tuple[str, ...] = ()
    why: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Verdict":
        """The inverse of `to_dict`, after JSON."""
        tuples = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **tuples, "steps": tuple(StepVerdict(**step) for step in values["steps"])})
