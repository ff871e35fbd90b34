"""What a worker of a run wrote: its own log, through Ray's state API. Imports Ray, in the environment that the cluster wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from ray.util.state import get_log, list_actors

from cluster.control.run_actor import NAMESPACE
from cluster.control.run_address import find_address
from cluster.errors import UserError, in_words

TIMEOUT_S = 30
POLL_S = 2.0
_MOST_ACTORS = 10_000
Value = TypeVar("Value")


def worker_log(run: Path, name: str, follow: bool) -> Iterator[str]:
    """The log of a worker: what it wrote to standard output, then to standard error.

    Args:
        name: as the run calls it, such as rollout-0; `learner-PID` is a rank of the learner.
        follow: go on with what it writes, until it or the run is gone.

    Raises:
        UserError: the run does not go on, it has no such worker now, or Ray does not answer in time.
    """
    address = find_address(run)
    if address is None:
        raise UserError(f"--worker {name}: {run} does not go on now, and the logs of its workers went with its cluster")

    def living() -> list[Any]:
        return _within(
            lambda: list_actors(
                address,
                filters=[("state", "=", "ALIVE")],
                limit=_MOST_ACTORS,
                timeout=TIMEOUT_S,
                raise_on_missing_output=False,
            ),
            f"--worker {name}: Ray's state API at {address}",
        )

    def written(suffix: str) -> str:
        parts = _within(
            lambda: list(
                get_log(address, actor_id=actor, suffix=suffix, timeout=TIMEOUT_S, encoding=None, filter_ansi_code=True)
            ),
            f"--worker {name}: its log ({suffix})",
        )
        return b"".join(parts).decode("utf-8", "replace")

    actor = pick_worker(living(), run, name)
    shown, gone = {"out": 0, "err": 0}, False  # characters of each
    while True:
        for suffix, count in shown.items():
            text = written(suffix)
            yield text[count:]
            shown[suffix] = len(text)
        if gone or not follow:
            return
        time.sleep(POLL_S)
        if find_address(run) is None:
            return
        gone = actor not in {other.actor_id for other in living()}


def pick_worker(actors: Sequence[Any], run: Path, name: str) -> str:
    """The id of a run's worker among the living actors of a cluster.

    Raises:
        UserError: the run has no actor there, or none of this name.
    """
    own = str(run.absolute())
    job = next((actor.job_id for actor in actors if actor.name == own and actor.ray_namespace == NAMESPACE), None)
    if job is None:
        raise UserError(f"--worker {name}: {run} does not go on now, so it has no workers")
    ids = {}
    for actor in actors:
        if actor.job_id == job:
            if actor.class_name == "RayTrainWorker":  # Ray Train gives its actors no names
                ids[f"learner-{actor.pid}"] = actor.actor_id
            elif actor.name and actor.name.startswith(f"{run.absolute().name}/"):
                ids[actor.name.partition("/")[2]] = actor.actor_id
    if name not in ids:
        raise UserError(f"--worker {name}: {run} has no such worker now; it has {', '.join(sorted(ids)) or 'none'}")
    return ids[name]


def _within(call: Callable[[], Value], what: str) -> Value:
    """What `call` gives; not all that Ray does there has a limit of time. Raises UserError."""
    answers: SimpleQueue[tuple[Value | None, Exception | None]] = SimpleQueue()

    def work() -> None:
        try:
            answers.put((call(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        value, error = answers.get(timeout=TIMEOUT_S)
    except Empty:
        raise UserError(f"{what} did not answer within {TIMEOUT_S} s") from None
    if error is not None:
        raise UserError(f"{what} cannot be read ({in_words(error)})") from error
    return value
