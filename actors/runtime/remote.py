"""Waiting for remote work, always with a limit."""

from __future__ import annotations

import re
from typing import Any

import ray

NAMES_AN_ERROR = re.compile(r"\w(Error|Exception|Killed): ")


class RemoteFailure(RuntimeError):
    """A worker failed or did not answer; the text names it."""


class CallFailed(RemoteFailure):
    """The worker stands, and what it was asked for raised an error there."""


def wait_for(ref: Any, timeout_s: float, who: str) -> Any:
    """The value of `ref`.

    Raises:
        CallFailed: the call raised an error in `who`.
        RemoteFailure: `who` did not answer within `timeout_s`, or died; with the reason.
    """
    try:
        return ray.get(ref, timeout=timeout_s)
    except ray.exceptions.GetTimeoutError as error:
        raise RemoteFailure(f"{who} did not answer within {timeout_s:g} s") from error
    except ray.exceptions.RayActorError as error:
        first, *more = str(error).strip().splitlines()
        if more and "creation task" in first:  # the reason stands below the trace
            raise RemoteFailure(f"{who} could not start: {more[-1].strip()}") from error
        raise RemoteFailure(f"{who} died: {first}") from error
    except ray.exceptions.RayTaskError as error:
        raise CallFailed(f"{who} failed: {error.cause!r}") from error


def cause(error: BaseException | None) -> str:
    """One line out of Ray Train's many: the newest that names an error, else the last."""
    lines = str(error).strip().splitlines() if error is not None else ["it ended without an error"]
    return next((line.strip() for line in reversed(lines) if NAMES_AN_ERROR.search(line)), lines[-1])
