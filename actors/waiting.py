"""Waiting for remote work, always with a limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray


class RemoteFailure(RuntimeError):
    """A worker failed or did not answer; the text names it."""


def wait_for(ref: Any, timeout_s: float, who: str) -> Any:
    """The value of `ref`.

    Raises:
        RemoteFailure: `who` did not answer within `timeout_s`, died, or raised; with the reason.
    """
    try:
        return ray.get(ref, timeout=timeout_s)
    except ray.exceptions.GetTimeoutError as error:
        raise RemoteFailure(f"{who} did not answer within {timeout_s:g} s") from error
    except ray.exceptions.RayActorError as error:
        raise RemoteFailure(f"{who} died: {str(error).strip().splitlines()[0]}") from error
    except ray.exceptions.RayTaskError as error:
        raise RemoteFailure(f"{who} failed: {error.cause!r}") from error


def wait_for_all(refs: Sequence[Any], timeout_s: float, who: Sequence[str]) -> list[Any]:
    """The values of `refs`, in order, all within one limit of `timeout_s`; `who` names each."""
    ready, late = ray.wait(list(refs), num_returns=len(refs), timeout=timeout_s)
    if late:
        names = ", ".join(name for ref, name in zip(refs, who, strict=True) if ref in set(late))
        raise RemoteFailure(f"{names} did not answer within {timeout_s:g} s")
    return [wait_for(ref, 60, name) for ref, name in zip(refs, who, strict=True)]
