"""Tells the learner's desk which ranks died."""

from __future__ import annotations

from typing import Any

from ray.exceptions import RayActorError
from ray.train import UserCallback

from actors.runtime.remote import cause


class RankFaults(UserCallback):
    """Ray Train calls it in its controller."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        self.desk.lose.remote({rank: _why(error) for rank, error in worker_exceptions.items()})


def _why(error: Exception) -> str:
    if type(error).__name__ == "WorkerHealthCheckTimeoutError":
        return "gave no sign of life for longer than learner.silent_s"
    if isinstance(getattr(error, "health_check_failure", error), RayActorError):  # its own text runs over many lines
        return "its process is gone"
    return cause(error)
