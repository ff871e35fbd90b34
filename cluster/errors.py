"""Faults that a user can fix, reported in one line."""

import sys
from contextlib import suppress
from typing import NoReturn

TOKEN_ADVICE = (
    "a cluster started by `ray start` needs RAY_AUTH_MODE=token and its own token "
    "(~/.ray/auth_token, or RAY_AUTH_TOKEN)"
)


class UserError(Exception):
    """Something the user gave cannot be used. One line: what, where, what would be right."""


def one_line(text: object) -> str:
    """A library's text, or an error's, on one line; a character that could change the terminal becomes U+FFFD."""
    words = " ".join(str(text).split())
    return "".join(character if character.isprintable() else "\ufffd" for character in words)


def error_line(error: BaseException) -> str:
    """The type and the text of an error of Python or a library, on one line."""
    return one_line(f"{type(error).__name__}: {error}")


def first_sentence(error: BaseException) -> str:
    """The first sentence of a library's long message: what is wrong, without the advice that follows."""
    text = str(error).strip()
    if not text:
        return type(error).__name__
    return text.splitlines()[0].split(". ")[0].rstrip(".")


def fail(text: str, code: int) -> NoReturn:
    """Ends the process with one line on standard error."""
    tell(f"curlvpr: {one_line(text)}")
    sys.exit(code)


def tell(*lines: str) -> None:
    """Prints lines on standard error, if anybody reads it."""
    with suppress(OSError):
        print(*lines, sep="\n", file=sys.stderr, flush=True)
