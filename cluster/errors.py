"""Faults that a user can mend, told in one line."""

import sys
from typing import NoReturn


class UserError(Exception):
    """Something the user gave cannot be used. One line: what, where, what would be right."""


def fail(text: str, code: int) -> NoReturn:
    """Ends the process with one line on standard error."""
    print(f"curlvpr: {text}", file=sys.stderr)
    sys.exit(code)
