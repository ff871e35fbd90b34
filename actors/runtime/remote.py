"""Waits for remote work, always with a limit."""

from __future__ import annotations

import re
from typing import Any

import ray

OUT_OF_MEMORY = re.compile(r"low on memory.*? was ([\d.]+ ?\w+)(?: used)? / ([\d.]+ ?\w+)", re.DOTALL)
EXIT_DETAIL = re.compile(r"Worker exit detail: (.+?)(?:\. |\n|$)")
CONNECTION_ENDED = "connection error code 2"  # all that Ray knows about a process that was killed
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
        raise RemoteFailure(f"{who} died: {_reason(str(error)) or first}") from error
    except ray.exceptions.RayTaskError as error:
        raise CallFailed(f"{who} failed: {error.cause!r}") from error
    except ray.exceptions.RayError as error:
        raise RemoteFailure(f"{who}: {ray_failure(error)}") from error


def ray_failure(error: BaseException) -> str | None:
    """One line about an error that Ray raised; None if it comes from elsewhere."""
    if not isinstance(error, ray.exceptions.RayError) and not _raised_by_ray(error):
        return None
    text = str(error).strip()
    first = text.splitlines()[0] if text else ""
    return f"Ray: {_reason(text) or first or type(error).__name__}"


def _raised_by_ray(error: BaseException) -> bool:
    """Whether the innermost call of an error is one of Ray's."""
    trace = error.__traceback__
    module = ""
    while trace is not None:
        module, trace = trace.tb_frame.f_globals.get("__name__", ""), trace.tb_next
    return module.split(".")[0] == "ray"


def _reason(text: str) -> str:
    """Why a worker died, out of Ray's paragraphs about it; "" if they do not say."""
    if memory := OUT_OF_MEMORY.search(text):
        return f"its node ran low on memory ({memory[1]} of {memory[2]} used), and Ray's memory monitor ended it"
    detail = EXIT_DETAIL.search(text)
    if detail is None or CONNECTION_ENDED in detail[1]:
        return ""
    return detail[1].strip().rstrip(".")


def cause(error: BaseException | None) -> str:
    """One line of Ray Train's many: the last one that names an error, or else the last one."""
    if error is None:
        return "it ended without an error"
    lines = str(error).strip().splitlines()
    for line in reversed(lines):
        if NAMES_AN_ERROR.search(line):
            return line.strip()
    return lines[-1]
