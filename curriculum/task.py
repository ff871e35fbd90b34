"""A task: one question, mostly on one or more chest X-rays, with its gold answer."""

from __future__ import annotations

import string
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from curriculum.forms import DEFAULT_FORM, FORMS, Domain, Form

Split = Literal["train", "val", "test"]
Sex = Literal["", "F", "M", "O"]
OPTION_LETTERS = string.ascii_uppercase[:7]  # A to G, as in CX-Mind
NO_FINDING = "No finding"
AGES = (18, 40, 60, 80)
"""Years at which a new band of ages starts."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


Filled = Annotated[str, AfterValidator(_not_blank)]


class Task(BaseModel):
    """One question and its gold.

    Closed tasks have `options` (letter to text), and `gold` holds the right letters. Open tasks have no options, and
    `form` (a key of `forms.FORMS`) says what their gold is: "names" of findings (empty for a healthy film) or of
    whatever else was asked, one "text" (a section of a report), or "boxes", each as `boxes.write_box` writes it. It
    defaults to "letters" for closed tasks and to "names" for open ones.
    `images` are paths, never pixels: the worker that needs an image loads it. In a file they may be
    relative to the task set's folder; `taskset.read_tasks` makes them absolute. `captions` say what each of them is, such
    as a prior film; none says nothing. `context` is what else is known before the question: the indication, a prior report.

    Raises:
        pydantic.ValidationError: the gold is not among the options or not of the task's form, an option letter is
            out of order, an open task has options, or there is not one caption for each image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Filled
    domain: Domain
    family: Filled
    question: Filled
    options: dict[str, str] = {}
    form: Form
    gold: tuple[str, ...]
    images: tuple[str, ...]
    captions: tuple[Filled, ...] = ()
    context: str = ""
    reference: str | None = None
    split: Split = "train"
    patient: str = ""
    view: str = ""
    sex: Sex = ""
    age: float | None = Field(None, ge=0, le=120, description="years")
    source: str = ""
    licence: str = ""
    attribution: str = ""

    @model_validator(mode="before")
    @classmethod
    def _form_of_domain(cls, values: dict) -> dict:
        if isinstance(values, dict) and not values.get("form"):
            domain: Domain = "open" if values.get("domain") == "open" else "closed"
            return values | {"form": DEFAULT_FORM[domain]}
        return values

    @model_validator(mode="after")
    def _gold_fits(self) -> "Task":
        if len(set(self.gold)) != len(self.gold):
            raise ValueError(f"gold {list(self.gold)} names something twice")
        if self.captions and len(self.captions) != len(self.images):
            raise ValueError(
                f"{len(self.captions)} captions for {len(self.images)} images; there is one for each, or none"
            )
        form = FORMS[self.form]
        if self.domain != form.domain:
            raise ValueError(
                f"{self.form} is no form of {'a closed' if self.domain == 'closed' else 'an open'} task's answer"
            )
        if self.domain == "open":
            if self.options:
                raise ValueError("an open task has no options")
            if blank := [name for name in self.gold if not name.strip()]:
                raise ValueError(f"gold {blank[0]!r} is empty")
        elif list(self.options) != list(OPTION_LETTERS[: len(self.options)]) or len(self.options) < 2:
            raise ValueError(f"options must be lettered A, B, … (2 to 7 of them), found {list(self.options)}")
        form.check(self.gold, self.options)
        return self

    @property
    def asked(self) -> str:
        """What a model is asked, after the images: their captions, what is known, the question, the options."""
        captions = "".join(f"Image {number}: {caption}\n" for number, caption in enumerate(self.captions, 1))
        context = f"{self.context}\n" if self.context else ""
        return (
            captions + context + self.question + "".join(f"\n{letter}) {text}" for letter, text in self.options.items())
        )

    @property
    def chance(self) -> float:
        """Accuracy of a guess that knows the form of the question: 1/n, or 1/(2^n − 1) where several may be right."""
        if self.domain == "open":
            return 0.0
        n = len(self.options)
        return 1 / (2**n - 1) if self.family == "multiple_choice" else 1 / n


def age_band(age: float | None) -> str:
    """ "0–17", "18–39", "40–59", "60–79" or "80+"; "" where the age is not known."""
    if age is None:
        return ""
    start = max(edge for edge in (0, *AGES) if edge <= age)
    end = next((edge for edge in AGES if edge > age), None)
    return f"{start}–{end - 1}" if end else f"{start}+"
