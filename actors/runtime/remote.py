"""Waits for remote work, always with a limit."""

from __future__ import annotations

import re
from typing import Any

import ray

NAMES_AN_ERROR = re.compile(r"\w(Error|Exception|Killed): ")


class RemoteFailure(RuntimeError):
    """A worker failed or did not answer; the message names it."""


class CallFailed(RemoteFailure):
    """The worker is up, but the call raised an error there."""


def wait_for(ref: Any, timeout_s: float, who: str) -> Any:
    """The value of `ref`.

    Args:
        who: the worker that computes it, for errors.

    Raises:
        CallFailed: the call raised an error in `who`.
        RemoteFailure: `who` did not answer within `timeout_s`, or died; the message has the reason.
    """
    try:
        return ray.get(ref, timeout=timeout_s)
    except ray.exceptions.GetTimeoutError as error:
        raise RemoteFailure(f"{who} did not answer within {timeout_s:g} s") from error
    except ray.exceptions.RayActorError as error:
        first, *more = str(error).strip().splitlines()
        if more and "creation task" in first:  # the reason is below the trace
            raise RemoteFailure(f"{who} could not start: {more[-1].strip()}") from error
        raise RemoteFailure(f"{who} died: {first}") from error
    except ray.exceptions.RayTaskError as error:
        raise CallFailed(f"{who} failed: {error.cause!r}") from error


def cause(error: BaseException | None) -> str:
    """One line of Ray Train's many: the last one that names an error, or else the last one."""
    if error is None:
        return "it ended without an error"
    lines = str(error).strip().splitlines()
    for line in reversed(lines):
        if NAMES_AN_ERROR.search(line):
            return line.strip()
    return lines[-1]
