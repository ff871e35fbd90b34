"""Reads answer blocks: marks, options, lists of findings. The rest of the package is behind these functions."""

from __future__ import annotations

from collections.abc import Mapping

from rewards.reading.choices.choice import read_choice
from rewards.reading.choices.option_set import option_set
from rewards.reading.marks import MAX_CHARACTERS, read_marks
from rewards.reading.names import read_finding, read_list_of_findings, split_names, statuses_in

__all__ = [
    "MAX_CHARACTERS",
    "are_yes_no",
    "read_choice",
    "read_finding",
    "read_findings",
    "read_list_of_findings",
    "read_marks",
    "read_option",
    "read_options",
    "split_names",
    "statuses_in",
]


def read_option(answer: str, options: Mapping[str, str], question: str = "") -> str | None:
    """The one option that an answer without marks names; None unless it is just one."""
    named = read_choice(answer, options, question).value
    return named[0] if named and len(named) == 1 else None


def read_options(answer: str, options: Mapping[str, str], question: str = "") -> tuple[str, ...] | None:
    """The option letters that an answer names, sorted; None if it cannot be read (`read_choice` says why)."""
    return read_choice(answer, options, question).value


def are_yes_no(options: Mapping[str, str]) -> bool:
    """Whether the options are Yes and No, in any order and case."""
    return option_set(options).yes_no is not None


def read_findings(answer: str) -> tuple[str, ...] | None:
    """The findings that a list asserts, sorted; () for a healthy film; None if it cannot be read.

    `read_list_of_findings` says why.
    """
    return read_list_of_findings(answer).value
