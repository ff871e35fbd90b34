"""Collapse guards: numbers of a step that a healthy run does not have, and what is done about them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from curriculum.strict import Strict

Measure = Literal["flat_groups", "entropy", "format", "kl", "truncated", "response_tokens"]
Action = Literal["warn", "pause", "roll_back"]


class Guard(Strict):
    """One number of a step of reinforcement learning that must stay above or below a limit."""

    measure: Measure = Field(
        description="flat_groups: share of groups whose rewards are all equal; entropy, in nats a token; "
        "format: share of sound responses; kl, from the reference; truncated: share cut off; response_tokens"
    )
    above: float | None = None
    below: float | None = None
    steps: PositiveInt = Field(5, description="in a row, before anything is done")
    then: Action = Field(
        "warn", description="roll_back: to the last commit before it began, and a tenth of the learning rate"
    )

    @model_validator(mode="after")
    def _one_limit(self) -> Guard:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"a guard of {self.measure} needs exactly one of above and below: the values that are bad")
        return self

    def is_bad(self, value: float) -> bool:
        return value > self.above if self.above is not None else value < self.below


DEFAULT = (
    Guard(measure="flat_groups", above=0.95),
    Guard(measure="entropy", below=0.002),
    Guard(measure="format", below=0.5),
    Guard(measure="kl", above=5),
    Guard(measure="truncated", above=0.5),
)


@dataclass(frozen=True)
class Alarm:
    """A guard whose limit was passed long enough: what to do, why in words, and the step of the run at which it began."""

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
        """The alarms of a step, the number of which in the run is `step`; each guard gives one when it has counted enough."""
        alarms = []
        for number, guard in enumerate(self.guards):
            value = row.get(guard.measure)
            self.bad[number] = self.bad[number] + 1 if value is not None and guard.is_bad(value) else 0
            if self.bad[number] == guard.steps:
                limit = f"above {guard.above:g}" if guard.above is not None else f"below {guard.below:g}"
                alarms.append(
                    Alarm(
                        guard.then,
                        f"{guard.measure} {value:.3g} is {limit}, {guard.steps} steps in a row",
                        step - guard.steps + 1,
                    )
                )
        return alarms

    def reset(self) -> None:
        self.bad = [0] * len(self.guards)
