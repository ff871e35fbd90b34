"""Collapse guards: numbers of a step that a healthy run does not have, and what is done about them. Pure.

A new measure is one line in `MEASURES`: any number of a step's row of metrics.parquet can be guarded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from curriculum.choice import KeyOf
from curriculum.strict import Strict

MEASURES = {
    "flat_groups": "share of groups whose rewards are all equal",
    "entropy": "in nats per token",
    "format": "share of sound responses",
    "kl": "from the reference",
    "teacher_kl": "from the teachers",
    "accepted": "share of responses that rejection sampling accepts",
    "truncated": "share of responses cut off",
    "response_tokens": "mean tokens of a response",
}
"""The columns of metrics.parquet that a guard can watch, and what they are."""
Action = Literal["warn", "pause", "roll_back"]


class Guard(Strict):
    """One number of a step of reinforcement learning that must stay above or below a limit."""

    measure: Annotated[str, KeyOf(MEASURES)] = Field(
        description="; ".join(f"{name}: {meaning}" for name, meaning in MEASURES.items())
    )
    above: float | None = None
    below: float | None = None
    steps: PositiveInt = Field(5, description="bad steps in a row before anything is done")
    then: Action = Field(
        "warn", description="roll_back: to the last commit before it began, with a tenth of the learning rate"
    )

    @model_validator(mode="after")
    def _check_one_limit(self) -> Guard:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"a guard of {self.measure} needs exactly one of above and below: the values that are bad")
        return self

    def is_bad(self, value: float) -> bool:
        if self.above is not None:
            return value > self.above
        return self.below is not None and value < self.below

    @property
    def limit(self) -> str:
        """The values that are bad, in words."""
        return f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"


DEFAULT = (
    Guard(measure="flat_groups", above=0.95),
    Guard(measure="entropy", below=0.002),
    Guard(measure="format", below=0.5),
    Guard(measure="kl", above=5),
    Guard(measure="truncated", above=0.5),
)


@dataclass(frozen=True)
class Alarm:
    """A guard whose limit was passed for long enough.

    Attributes:
        action: what to do.
        why: the reason in words.
        began: the step of the run at which it began.
    """

    action: Action
    why: str
    began: int


class Guards:
    """Counts for each guard how many steps in a row were bad."""

    def __init__(self, guards: Sequence[Guard]) -> None:
        self.guards = tuple(guards)
        self.bad = [0] * len(self.guards)

    @property
    def alarmed(self) -> bool:
        """Whether the last step was bad by any guard; its weights are not worth a commit."""
        return any(self.bad)

    def look(self, step: int, row: Mapping[str, Any]) -> list[Alarm]:
        """The alarms that a step raises. A guard raises one, at the step that makes its count full.

        Args:
            step: number of the step in the whole run.
            row: the numbers of the step. A guard whose measure is missing starts to count afresh.
        """
        alarms = []
        for number, guard in enumerate(self.guards):
            value = row.get(guard.measure)
            if value is None or not guard.is_bad(value):
                self.bad[number] = 0
                continue
            self.bad[number] += 1
            if self.bad[number] == guard.steps:
                why = f"{guard.measure} {value:.3g} is {guard.limit}, {guard.steps} steps in a row"
                alarms.append(Alarm(guard.then, why, step - guard.steps + 1))
        return alarms

    def reset(self) -> None:
        self.bad = [0] * len(self.guards)
