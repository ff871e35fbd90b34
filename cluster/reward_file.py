"""The `curlvpr reward` commands: JSON lines in, JSON lines out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rewards.extract import extract

from .errors import UserError


def extract_lines(path: Path) -> Iterator[str]:
    """{"present": […], "absent": […], "uncertain": […]} with NIH names for each {"text": …} of a file of JSON lines.

    Raises:
        UserError: the file cannot be read, or a line is no such object; lines are counted from 1.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                found = extract(_text_of(line, f"{path}: line {number}"))
                yield json.dumps({status: sorted(getattr(found, status)) for status in ("present", "absent", "uncertain")})
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


def _text_of(line: bytes, where: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f'{where}: no JSON ({str(error).splitlines()[0]}); a line is {{"text": "…"}}') from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise UserError(f'{where}: no "text" that is a string; a line is {{"text": "…"}}')
    return row["text"]
