"""Whether a failed call is tried again, and after which pause."""

from __future__ import annotations

import hashlib

from rewards.config import MAX_PAUSE_S

FIRST_PAUSE_S = 0.5
OF_THE_CODE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""Errors of the rule itself, or of what it was given: they would come again."""


def is_worth_retrying(error: BaseException) -> bool:
    """Whether the same call may succeed later: a time-out, a lost connection, a busy endpoint."""
    return isinstance(error, Exception) and not isinstance(error, OF_THE_CODE)


def pause_s(tries: int, key: str, error: BaseException) -> float:
    """Seconds before the next try, after `tries` failed ones.

    They double from try to try, up to a limit, and differ from call to call by a hash of `key`, so that many calls that
    failed together do not come back together. An error may ask for more by an attribute `retry_after_s`.
    """
    digest = hashlib.sha256(f"{key}/{tries}".encode()).digest()
    jitter = 0.5 + int.from_bytes(digest[:4], "big") / 2**33  # 0.5 to 1
    pause = jitter * FIRST_PAUSE_S * 2.0 ** min(tries - 1, 10)
    return min(MAX_PAUSE_S, max(pause, float(getattr(error, "retry_after_s", None) or 0.0)))
