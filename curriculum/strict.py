"""The base of every typed setting and every request body, and the faults of a value in words."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Refuses unknown keys, and cannot be changed once it is built."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def fault_text(fault: Mapping[str, Any]) -> str:
    """One item of `ValidationError.errors()` in a line: path, what is wrong, and the value.

    A fault without a path comes from a rule of ours, whose text names the values itself.
    """
    message = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return message
    path = ".".join(map(str, fault["loc"]))
    return f"{path}: {message}, found {fault['input']!r:.80}"
