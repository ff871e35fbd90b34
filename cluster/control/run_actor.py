"""Talking to a run in progress: a named actor holds the newest status of the run, and the requests made of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray
from ray.exceptions import AuthenticationError

from actors.runtime.remote import RemoteFailure, wait_for
from cluster.control.ray_connection import near_driver, own_handlers
from cluster.control.run_address import FILE_NAME, find_address, remove_address, write_address
from cluster.control.token_check import check_token
from cluster.errors import TOKEN_ADVICE, UserError, first_sentence
from cluster.record.lease import LeaseLost, owner_of
from cluster.record.run_status import check_run_folder, saved_status
from cluster.signals import current, is_ending

NAMESPACE = "curlvpr"
RELEASE_S = 60  # for Ray to give back the name of an actor whose process just died
ANSWER_S = 30


@dataclass(frozen=True)
class ControlRequest:
    """A user's request to a run; takes effect after the current step.

    Attributes:
        rollout, reward: of `scale`, the new numbers of workers.
        steps: of `profile`, how many are recorded.
    """

    action: Literal["scale", "pause", "resume", "checkpoint", "profile", "stop"]
    rollout: int | None = None
    reward: int | None = None
    steps: int = 0


class RunActor:
    """Stands between a busy run and its callers: an asynchronous Ray actor with the run folder as its name."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {}
        self.requests: list[ControlRequest] = []

    def __repr__(self) -> str:
        return "run"

    async def sync(self, status: dict[str, Any]) -> list[ControlRequest]:
        """Called by the run: stores its status, and returns the requests made since the last call."""
        self.status = status
        requests, self.requests = self.requests, []
        return requests

    async def add_request(self, request: ControlRequest) -> str | None:
        """Takes a request. Returns why not, if it does not."""
        if request.action == "profile":
            left = self.status.get("profiled_steps_left", 0)
            waiting = [other.steps for other in self.requests if other.action == "profile"]
            if left or waiting:
                return f"{left or waiting[0]} steps are being profiled already; ask again after them"
        self.requests.append(request)
        return None

    async def read_status(self) -> dict[str, Any]:
        return self.status


class Control:
    """The run's side: a context in which others can reach the run.

    Python drops a KeyboardInterrupt that falls into a library's callback or destructor; then the next `sync` raises it.

    Args:
        check_owner: raises an exception if the run is not this process's any more.

    Raises:
        UserError: the cluster does not let go of the run for a process that held it before.
    """

    def __init__(self, run: Path, check_owner: Callable[[], None] = lambda: None) -> None:
        self.run, self.check_owner = run, check_owner
        self.actor = self._start_actor()
        write_address(run, ray.get_runtime_context().gcs_address)

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(LeaseLost):  # then the address is that of the new owner
            self.check_owner()
            remove_address(self.run)
        if not is_ending():  # then the actor ends with this process
            ray.kill(self.actor)

    def sync(self, status: dict[str, Any]) -> list[ControlRequest]:
        """Reports the status; returns the requests since the last call (none if the actor fails: the run goes on).

        Raises:
            KeyboardInterrupt: the run was interrupted, and a library swallowed the exception.
            LeaseLost: another process has taken the run folder over.
        """
        self.check_owner()
        if signals := current():
            signals.check()
        try:
            return wait_for(self.actor.sync.remote(status | {"told_at": time.time()}), ANSWER_S, "the run's actor")
        except RemoteFailure:
            return []

    def _start_actor(self) -> Any:
        """The run's actor. Its name may be taken for a moment after the death of the process that held the run."""
        options = {
            "name": str(self.run),
            "namespace": NAMESPACE,
            "num_cpus": 0,
            "max_restarts": -1,
            "scheduling_strategy": near_driver(),
        }
        deadline = time.monotonic() + RELEASE_S
        while True:
            try:
                return ray.remote(RunActor).options(**options).remote()
            except ValueError as error:  # the name is taken
                if time.monotonic() > deadline:
                    raise UserError(
                        f"{self.run}: after {RELEASE_S} s the cluster still holds this run for a process that is "
                        "gone; try again"
                    ) from error
                time.sleep(0.5)


def find_run(run: Path) -> Any | None:
    """The actor of the run in the folder `run`; None if no process holds it. Connects to the run's cluster.

    A cluster whose run has died is left alone: it may be about to end, and take along whoever has joined it.

    Raises:
        UserError: it is no run folder, or its cluster refuses the connection for lack of the right token.
    """
    check_run_folder(run)
    if owner_of(run) is None or (address := find_address(run)) is None:
        return None
    try:
        if not ray.is_initialized():
            check_token(address)
            with own_handlers():
                ray.init(address=address, log_to_driver=False, logging_level="CRITICAL")
        return ray.get_actor(str(run.absolute()), namespace=NAMESPACE)
    except (AuthenticationError, ConnectionError) as error:  # something listens there: the run may be in progress
        raise UserError(
            f"{run}: no connection to its cluster at {address}: {first_sentence(error)}; {TOKEN_ADVICE}; if that "
            f"cluster is gone, remove {run / FILE_NAME}"
        ) from error
    except (RuntimeError, ValueError):  # the cluster has no such run
        return None


def reach_run(run: Path) -> Any:
    """The actor of a run in progress. Raises UserError if it is not in progress."""
    if actor := find_run(run):
        return actor
    if owner := owner_of(run):
        raise UserError(f"{run}: {owner} has this run, and its cluster does not answer here; ask again there")
    raise UserError(f"{run}: this run is not in progress; it is {read_status(run)['status']}")


def send_request(run: Path, request: ControlRequest) -> None:
    """Hands a request to the run. Raises UserError if it is not in progress, or does not take the request."""
    refused = wait_for(reach_run(run).add_request.remote(request), ANSWER_S, f"the run {run}")
    if refused:
        raise UserError(f"{run}: {refused}")


def read_status(run: Path) -> dict[str, Any]:
    """The status that a run reports, or of its summary if no process holds it. Raises UserError as `saved_status`."""
    if actor := find_run(run):
        try:
            status = wait_for(actor.read_status.remote(), ANSWER_S, f"the run {run}")
        except RemoteFailure:
            return saved_status(run)
        return status or {"run": run.name, "status": "starting"}
    return saved_status(run)
