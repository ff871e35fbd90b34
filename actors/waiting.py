"""Waiting for remote work, always with a limit."""

from __future__ import annotations

from typing import Any

import ray


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
