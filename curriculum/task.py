"""A task: one question on one or more chest X-rays, with its gold answer."""

from __future__ import annotations

import string
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Domain = Literal["closed", "open"]
Split = Literal["train", "val", "test"]
OPTION_LETTERS = string.ascii_uppercase[:7]  # A to G, as in CX-Mind
NO_FINDING = "No finding"


class Task(BaseModel):
    """One question and its gold.

    Closed tasks have `options` (letter to text) and `gold` names the right letters.
    Open tasks have no options and `gold` names the findings; an empty gold means a healthy film.
    `images` are paths, never pixels: the worker that needs an image loads it. In a file they may be
    relative to the task set's folder; `taskset.read_tasks` makes them absolute.

    Raises:
        pydantic.ValidationError: the gold is not among the options, an option letter is out of order,
            or an open task has options.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    domain: Domain
    family: str = Field(min_length=1)
    question: str = Field(min_length=1)
    options: dict[str, str] = {}
    gold: tuple[str, ...]
    images: tuple[str, ...] = Field(min_length=1)
    reference: str | None = None
    split: Split = "train"
    patient: str = ""
    view: str = ""
    source: str = ""
    licence: str = ""
    attribution: str = ""

    @model_validator(mode="after")
    def _gold_fits_options(self) -> "Task":
        if len(set(self.gold)) != len(self.gold):
            raise ValueError(f"gold {list(self.gold)} names something twice")
        if self.domain == "open":
            if self.options:
                raise ValueError("an open task has no options")
            return self
        if list(self.options) != list(OPTION_LETTERS[: len(self.options)]) or len(self.options) < 2:
            raise ValueError(f"options must be lettered A, B, … (2 to 7 of them), found {list(self.options)}")
        stray = [letter for letter in self.gold if letter not in self.options]
        if stray or not self.gold:
            raise ValueError(f"gold {list(self.gold)} is not among the options {list(self.options)}")
        return self

    @property
    def chance(self) -> float:
        """Accuracy of a guess that knows the form of the question: 1/n, or 1/(2^n − 1) where several may be right."""
        if self.domain == "open":
            return 0.0
        n = len(self.options)
        return 1 / (2**n - 1) if self.family == "multiple_choice" else 1 / n
