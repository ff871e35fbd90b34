"""Talking to a run while it goes on: a named actor holds what the run last told of itself, and what was asked of it."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray
from ray.exceptions import AuthenticationError

from actors.runtime.remote import RemoteFailure, wait_for
from cluster.control.ray_connection import near_driver
from cluster.control.run_address import FILE_NAME, find_address, forget_address, write_address
from cluster.errors import TOKEN_ADVICE, UserError, first_sentence
from cluster.record.run_status import check_run_folder, saved_status

NAMESPACE = "curlvpr"
RELEASE_S = 15


@dataclass(frozen=True)
class ControlRequest:
    """What a user asks of a run. It is granted after the step that the run is at."""

    what: Literal["scale", "pause", "resume", "checkpoint", "stop"]
    rollout: int | None = None
    reward: int | None = None


class RunActor:
    """Stands between a run, which is busy, and whoever asks; an asynchronous Ray actor, called like the run folder."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {}
        self.wishes: list[ControlRequest] = []

    def __repr__(self) -> str:
        return "run"

    async def exchange(self, status: dict[str, Any]) -> list[ControlRequest]:
        """The run's side: tells its status, and takes what was asked since."""
        self.status = status
        wishes, self.wishes = self.wishes, []
        return wishes

    async def add_request(self, wish: ControlRequest) -> None:
        self.wishes.append(wish)

    async def tell(self) -> dict[str, Any]:
        return self.status


class Control:
    """The run's side; a context, inside which the run can be asked. Raises UserError where another process holds the run.

    Ctrl-C is one way to ask. Python drops a KeyboardInterrupt that falls into a library's callback or destructor; then the next
    `exchange` raises it.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.interrupted = run, False
        own = threading.current_thread() is threading.main_thread()  # no other thread may set it
        self._before = signal.signal(signal.SIGINT, self._interrupt) if own else None
        until = time.monotonic() + RELEASE_S
        while True:
            try:
                self.actor = (
                    ray.remote(RunActor)
                    .options(
                        name=str(run),
                        namespace=NAMESPACE,
                        num_cpus=0,
                        max_restarts=-1,
                        scheduling_strategy=near_driver(),
                    )
                    .remote()
                )
                break
            except ValueError as error:  # the name is taken; by a process that just died, Ray has it back in a moment
                if time.monotonic() > until:
                    raise UserError(f"{run}: this run goes on already, in another process") from error
                time.sleep(0.5)
        write_address(run, ray.get_runtime_context().gcs_address)

    def __enter__(self) -> "Control":
        return self

    def _interrupt(self, *_: object) -> None:
        self.interrupted = True
        raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        forget_address(self.run)
        ray.kill(self.actor)

    def exchange(self, status: dict[str, Any]) -> list[ControlRequest]:
        """Tells the status; returns what was asked since the last time. A run does not end because nobody can ask it.

        Raises:
            KeyboardInterrupt: it was interrupted, and that got lost.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        try:
            return wait_for(self.actor.exchange.remote(status | {"told_at": time.time()}), 30, "the run's actor")
        except RemoteFailure:
            return []


def find_run(run: Path) -> Any | None:
    """The actor of the run in the folder `run`; None where no process holds it. Connects to the run's cluster.

    Raises:
        UserError: it is no run folder, or its cluster takes no connection, for want of the right token.
    """
    check_run_folder(run)
    if (address := find_address(run)) is None:
        return None
    try:
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, logging_level="CRITICAL")
        return ray.get_actor(str(run.absolute()), namespace=NAMESPACE)
    except (AuthenticationError, ConnectionError) as error:  # somebody listens there, and the run may well go on
        raise UserError(
            f"{run}: no connection to its cluster at {address}: {first_sentence(error)}; {TOKEN_ADVICE}; where that "
            f"cluster is gone, remove {run / FILE_NAME}"
        ) from error
    except (RuntimeError, ValueError):  # no such run on it
        return None


def send_request(run: Path, wish: ControlRequest) -> None:
    """Hands a wish to the run. Raises UserError where it does not go on."""
    if (actor := find_run(run)) is None:
        raise UserError(f"{run}: this run does not go on now; it is {read_status(run)['status']}")
    wait_for(actor.add_request.remote(wish), 30, f"the run {run}")


def read_status(run: Path) -> dict[str, Any]:
    """What a run says of itself now; where no process holds it, what its summary says. Raises UserError as `saved_status`."""
    if actor := find_run(run):
        try:
            if status := wait_for(actor.tell.remote(), 30, f"the run {run}"):
                return status
            return {"run": run.name, "status": "starting"}
        except RemoteFailure:
            pass
    return saved_status(run)
