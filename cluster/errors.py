"""Faults that a user can mend, told in one line."""

import sys
from typing import NoReturn


class UserError(Exception):
    """Something the user gave cannot be used. One line: what, where, what would be right."""


def in_words(error: BaseException) -> str:
    """An error of Python's or a library's in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def fail(text: str, code: int) -> NoReturn:
    """Ends the process with one line on standard error."""
    print(f"curlvpr: {text}", file=sys.stderr)
    sys.exit(code)
