"""The forms of an answer: who may ask for each, and what its gold must look like. `rewards/forms` judges answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from curriculum.boxes import read_box
from curriculum.choice import KeyOf

Domain = Literal["closed", "open"]


class GoldForm(NamedTuple):
    """What the gold of a form must look like.

    Attributes:
        domain: the tasks that may have this form: closed tasks have options, open ones have none.
        check: takes the gold and the options; raises ValueError with the reason if they don't fit.
    """

    domain: Domain
    check: Callable[[Sequence[str], Mapping[str, str]], None]


def _any_names(gold: Sequence[str], options: Mapping[str, str]) -> None:
    """Any name may be a gold, and a healthy film has none."""


def _letters_of_options(gold: Sequence[str], options: Mapping[str, str]) -> None:
    stray = [letter for letter in gold if letter not in options]
    if stray or not gold:
        raise ValueError(f"gold {list(gold)} is not among the options {list(options)}")


def _one_text(gold: Sequence[str], options: Mapping[str, str]) -> None:
    if len(gold) != 1:
        raise ValueError(f"a text task has one gold text, found {len(gold)}")


def _boxes(gold: Sequence[str], options: Mapping[str, str]) -> None:
    for text in gold or ("",):
        read_box(text)


FORMS: dict[str, GoldForm] = {
    "letters": GoldForm("closed", _letters_of_options),
    "names": GoldForm("open", _any_names),
    "text": GoldForm("open", _one_text),
    "boxes": GoldForm("open", _boxes),
}
DEFAULT_FORM: dict[Domain, str] = {"closed": "letters", "open": "names"}

Form = Annotated[str, KeyOf(FORMS)]
