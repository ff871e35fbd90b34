"""Reports to the learner's mailbox which ranks died."""

from __future__ import annotations

from typing import Any

from ray.exceptions import RayActorError
from ray.train import UserCallback

from actors.runtime.remote import cause


class RankFaults(UserCallback):
    """Ray Train calls this in its controller."""

    def __init__(self, mailbox: Any) -> None:
        self.mailbox = mailbox

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        self.mailbox.report_dead.remote({rank: describe_fault(error) for rank, error in worker_exceptions.items()})


def describe_fault(error: Exception) -> str:
    """Why a rank died, in one line."""
    if type(error).__name__ == "WorkerHealthCheckTimeoutError":
        return "gave no sign of life for longer than learner.silent_s"
    if isinstance(getattr(error, "health_check_failure", error), RayActorError):  # its own text has many lines
        return "its process is gone"
    return cause(error)
