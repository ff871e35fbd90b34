"""Faults that a user can mend, told in one line."""

import sys
from typing import NoReturn

TOKEN_ADVICE = (
    "a cluster of `ray start` wants RAY_AUTH_MODE=token and its own token (~/.ray/auth_token, or RAY_AUTH_TOKEN)"
)


class UserError(Exception):
    """Something the user gave cannot be used. One line: what, where, what would be right."""


def in_words(error: BaseException) -> str:
    """An error of Python's or a library's in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def first_sentence(error: BaseException) -> str:
    """Of what a library says at length, what is wrong; its advice, which comes after, is left out."""
    return str(error).strip().splitlines()[0].split(". ")[0].rstrip(".") if str(error).strip() else type(error).__name__


def fail(text: str, code: int) -> NoReturn:
    """Ends the process with one line on standard error."""
    print(f"curlvpr: {text}", file=sys.stderr)
    sys.exit(code)
