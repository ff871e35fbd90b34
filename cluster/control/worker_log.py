"""The log of one worker of a run, read through Ray's state API.

Imports Ray, so the environment must already be the one that the run's cluster needs (`run_address.find_address`).
"""

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
from cluster.errors import UserError, error_line

TIMEOUT_S = 30
POLL_S = 2.0
_MAX_ACTORS = 10_000
Value = TypeVar("Value")


def worker_log(run: Path, name: str, follow: bool) -> Iterator[str]:
    """Yields the log of a worker: its standard output, then its standard error.

    Args:
        run: the run folder.
        name: as the run names it, such as rollout-0; `learner-PID` is a rank of the learner.
        follow: continue with new lines until the worker or the run ends.

    Raises:
        UserError: the run is not in progress, it has no such worker now, or Ray does not answer in time.
    """
    address = find_address(run)
    if address is None:
        raise UserError(
            f"--worker {name}: {run} is not in progress, and the logs of its workers are gone with its cluster"
        )
    option = f"--worker {name}"
    actor = pick_worker(_live_actors(address, option), run, name)
    shown = {"out": 0, "err": 0}  # characters of each stream
    gone = False
    while True:
        for suffix, count in shown.items():
            text = _read_log(address, actor, suffix, option)
            yield text[count:]
            shown[suffix] = len(text)
        if gone or not follow:
            return
        time.sleep(POLL_S)
        if find_address(run) is None:
            return
        gone = actor not in {other.actor_id for other in _live_actors(address, option)}


def pick_worker(actors: Sequence[Any], run: Path, name: str) -> str:
    """The id of a run's worker among the living actors of a cluster.

    Raises:
        UserError: the run has no actor there, or no worker of this name.
    """
    run_actor = str(run.absolute())
    job = next((actor.job_id for actor in actors if actor.name == run_actor and actor.ray_namespace == NAMESPACE), None)
    if job is None:
        raise UserError(f"--worker {name}: {run} is not in progress, so it has no workers")
    ids = {}
    for actor in actors:
        if actor.job_id != job:
            continue
        if actor.class_name == "RayTrainWorker":  # Ray Train gives its actors no names
            ids[f"learner-{actor.pid}"] = actor.actor_id
        elif actor.name and actor.name.startswith(f"{run.absolute().name}/"):
            ids[actor.name.partition("/")[2]] = actor.actor_id
    if name not in ids:
        raise UserError(f"--worker {name}: {run} has no such worker now; it has {', '.join(sorted(ids)) or 'none'}")
    return ids[name]


def _live_actors(address: str, option: str) -> list[Any]:
    def query() -> list[Any]:
        return list_actors(
            address,
            filters=[("state", "=", "ALIVE")],
            limit=_MAX_ACTORS,
            timeout=TIMEOUT_S,
            raise_on_missing_output=False,
        )

    return _with_timeout(query, f"{option}: Ray's state API at {address}")


def _read_log(address: str, actor: str, suffix: str, option: str) -> str:
    def query() -> bytes:
        parts = get_log(address, actor_id=actor, suffix=suffix, timeout=TIMEOUT_S, encoding=None, filter_ansi_code=True)
        return b"".join(parts)

    return _with_timeout(query, f"{option}: its log ({suffix})").decode("utf-8", "replace")


def _with_timeout(call: Callable[[], Value], source: str) -> Value:
    """The result of `call`, run in a thread, because not every Ray call honours its timeout. Raises UserError."""
    results: SimpleQueue[tuple[Value] | Exception] = SimpleQueue()

    def work() -> None:
        try:
            results.put((call(),))
        except Exception as error:  # noqa: BLE001 - the waiting thread reports it
            results.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        result = results.get(timeout=TIMEOUT_S)
    except Empty:
        raise UserError(f"{source} did not answer within {TIMEOUT_S} s") from None
    if isinstance(result, Exception):
        raise UserError(f"{source} cannot be read ({error_line(result)})") from result
    return result[0]
