"""Finds talk that no film supports: of the report, of earlier films, of what to do next, of who it is."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import Literal, get_args

Talk = Literal["prior", "report", "advice", "elsewhere", "identifier"]
KINDS: tuple[Talk, ...] = get_args(Talk)


def talk_in(text: str) -> dict[Talk, str]:
    """The kinds of talk in a text, in the order of `KINDS`, each with the first words that show it."""
    found: dict[Talk, str] = {}
    for kind, pattern in _patterns().items():
        match = pattern.search(text)
        if match:
            found[kind] = match[0].strip()
    return found


@cache
def _patterns() -> dict[Talk, re.Pattern[str]]:
    data = tomllib.loads(resources.files(__package__).joinpath("talk.toml").read_text("utf-8"))
    return {kind: re.compile("|".join(data[kind]), re.IGNORECASE) for kind in KINDS}
