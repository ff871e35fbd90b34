"""A task: one question, usually about one or more chest X-rays, with its gold answer."""

from __future__ import annotations

import string
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from curriculum.forms import DEFAULT_FORM, FORMS, Domain, Form
from curriculum.missing import is_missing, says_nothing
from curriculum.strict import Strict

Split = Literal["train", "val", "test"]
Sex = Literal["", "F", "M", "O"]
OPTION_LETTERS = string.ascii_uppercase[:7]  # A to G, as in CX-Mind
NO_FINDING = "No finding"
AGES = (18, 40, 60, 80)
"""Years at which a new age band starts."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


def _no_missing_word(text: str) -> str:
    if text and is_missing(text):
        raise ValueError("is a missing value that was written as text; leave it empty")
    return text


Filled = Annotated[str, AfterValidator(_not_blank)]
Known = Annotated[str, AfterValidator(_no_missing_word)]
"""A text that may be empty. "nan" is none: it would be a patient, or a view, of its own."""


class Task(Strict):
    """One question and its gold.

    Closed tasks have `options`, and `gold` names the right letters. Open tasks have no options, and `form` says what
    their gold is: "names" of findings (empty for a healthy film) or of whatever else was asked, one "text" (a section
    of a report), or "boxes".

    Attributes:
        id: differs from every other task's.
        domain: closed (options) or open.
        family: the kind of question; stages mix tasks by it.
        question: without the options.
        options: letter to text, in the order of the letters.
        why_wrong: letter of a wrong option to why it is wrong, as far as that is known, such as "labelled absent".
        form: how an answer is written, a key of `forms.FORMS`. The default is "letters" for closed tasks and "names"
            for open ones.
        gold: right letters; names; one text; or boxes, each as `boxes.write_box` writes it.
        images: paths, never pixels: the worker that needs an image loads it. In a file they may be relative to the task
            set's folder; `taskset.read_tasks` makes them absolute.
        captions: what each image is, such as a prior film; empty if nothing is to be said.
        context: what is known before the question, such as the indication or a prior report.
        reference: a gold response, from which SFT learns.
        report: the film's report, from which gold traces are written and checked; no prompt has it.
        split: train, val or test.
        patient: all tasks of a patient are in one split.
        view: PA, AP or Lateral, if known.
        sex: F, M or O, if known.
        age: in years, if known.
        source: the data set.
        licence: of the data set.
        attribution: of the data set.

    Raises:
        pydantic.ValidationError: the gold is not among the options or not of the task's form, an option letter is
            out of order, an open task has options, or the number of captions is neither 0 nor that of the images.
    """

    id: Filled
    domain: Domain
    family: Filled
    question: Annotated[Filled, AfterValidator(_no_missing_word)]
    options: dict[str, str] = Field({})
    why_wrong: dict[str, str] = Field({})
    form: Form
    gold: tuple[str, ...]
    images: tuple[str, ...]
    captions: tuple[Filled, ...] = ()
    context: Known = ""
    reference: Known | None = None
    report: Known = ""
    split: Split = "train"
    patient: Known = ""
    view: Known = ""
    sex: Sex = ""
    age: float | None = Field(None, ge=0, le=120, description="years")
    source: str = ""
    licence: str = ""
    attribution: str = ""

    @model_validator(mode="before")
    @classmethod
    def _form_of_domain(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("form"):
            domain: Domain = "open" if values.get("domain") == "open" else "closed"
            return values | {"form": DEFAULT_FORM[domain]}
        return values

    @model_validator(mode="after")
    def _texts_are_unicode(self) -> Task:
        own = (self.id, self.question, self.context, self.patient, self.reference or "", self.report)
        texts = (*own, *self.options.values())
        try:
            "".join((*texts, *self.gold, *self.captions, *self.images)).encode()
        except UnicodeEncodeError as error:
            raise ValueError("a text holds half a character (a lone surrogate); valid Unicode is needed") from error
        return self

    @model_validator(mode="after")
    def _gold_fits(self) -> Task:
        if len(set(self.gold)) != len(self.gold):
            raise ValueError(f"gold {list(self.gold)} names something twice")
        if self.captions and len(self.captions) != len(self.images):
            raise ValueError(
                f"{len(self.captions)} captions for {len(self.images)} images; there is one for each, or none"
            )
        form = FORMS[self.form]
        if self.domain != form.domain:
            kind = "a closed" if self.domain == "closed" else "an open"
            raise ValueError(f"{self.form} is no form of {kind} task's answer")
        if self.domain == "open":
            self._check_open()
        elif list(self.options) != list(OPTION_LETTERS[: len(self.options)]) or len(self.options) < 2:
            raise ValueError(f"options must be lettered A, B, … (2 to 7 of them), found {list(self.options)}")
        else:
            self._check_texts_of_options()
        form.check(self.gold, self.options)
        for letter in self.why_wrong:
            if letter not in self.options or letter in self.gold:
                raise ValueError(f"why_wrong names {letter!r:.20}, which is no wrong option")
        return self

    def _check_texts_of_options(self) -> None:
        first: dict[str, str] = {}
        for letter, text in self.options.items():
            if says_nothing(text):
                raise ValueError(f"option {letter} has no text, found {text!r:.60}")
            if first.setdefault(option_key(text), letter) != letter:
                raise ValueError(
                    f"options {first[option_key(text)]} and {letter} are both {text!r:.60}; they must differ"
                )

    def _check_open(self) -> None:
        if self.options:
            raise ValueError("an open task has no options")
        for name in self.gold:
            if says_nothing(name):
                raise ValueError(f"gold {name!r:.60} says nothing; an answer is needed, or no gold for no finding")
            if self.form == "names" and name.strip().casefold() == "none":
                raise ValueError(f"gold {name!r} is no name; no gold at all says that there is no finding")

    @property
    def asked(self) -> str:
        """The text that follows the images in the prompt: their captions, the context, the question, the options."""
        captions = "".join(f"Image {number}: {caption}\n" for number, caption in enumerate(self.captions, 1))
        context = f"{self.context}\n" if self.context else ""
        options = "".join(f"\n{letter}) {text}" for letter, text in self.options.items())
        return captions + context + self.question + options

    @property
    def chance(self) -> float:
        """Accuracy of a guess that knows the form of the question: 1/n, or 1/(2^n − 1) if several may be right."""
        if self.domain == "open":
            return 0.0
        n = len(self.options)
        return 1 / (2**n - 1) if self.family == "multiple_choice" else 1 / n


def option_key(text: str) -> str:
    """What two options may not share: the text without case, blanks, width and a full stop at its end."""
    return " ".join(unicodedata.normalize("NFKC", text).split()).strip(" .").casefold()


def age_band(age: float | None) -> str:
    """The band of an age: "0–17", "18–39", "40–59", "60–79" or "80+"; "" if the age is not known."""
    if age is None:
        return ""
    start = max(edge for edge in (0, *AGES) if edge <= age)
    later = [edge for edge in AGES if edge > age]
    return f"{start}–{later[0] - 1}" if later else f"{start}+"
