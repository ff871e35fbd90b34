"""Several runs on one cluster: first come, first served; a run starts only if there is room for all its workers.

Otherwise two runs, each of which would fit alone, could each hold half of what it needs and wait forever for the rest.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from actors.runtime.remote import RemoteFailure, wait_for
from cluster.config.recipe import Recipe
from cluster.control.ray_connection import LEARNER_RESOURCE, has_learner_resource
from cluster.control.run_actor import NAMESPACE
from cluster.planning.placement import describe, worker_requests
from cluster.signals import is_ending

QUEUE_NAME = "line-of-runs"
POLL_S = 1.0
GONE_S = 30.0  # a run that has not called for this long has left the queue


class RunQueue:
    """Runs that wait for room, in order; a named actor of the cluster. The first may start its workers."""

    def __init__(self) -> None:
        self.last_calls: dict[str, float] = {}  # of each run in the queue, in order of arrival

    def __repr__(self) -> str:
        return QUEUE_NAME

    def ahead(self, run: str) -> list[str]:
        """The runs ahead of `run`. A new run joins at the end; others that have not called for GONE_S are dropped."""
        now = time.monotonic()
        present = {other: called for other, called in self.last_calls.items() if now - called < GONE_S}
        self.last_calls = present | {run: now}
        runs = list(self.last_calls)
        return runs[: runs.index(run)]

    def leave(self, run: str) -> None:
        self.last_calls.pop(run, None)


@contextmanager
def wait_for_slot(run: str, bundles: list[dict[str, float]], wait: Callable[[str], None]) -> Iterator[None]:
    """Waits until the run is first and the cluster has room for all bundles; no other run starts until the block ends.

    Args:
        run: a name that no other run of the cluster has.
        bundles: the resources of each worker, from `worker_bundles`. An autoscaler sees them and brings nodes.
        wait: called every second while the run waits, with the reason; an exception from it ends the wait.
    """
    options = {
        "name": QUEUE_NAME,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "max_restarts": -1,
    }
    queue = ray.remote(RunQueue).options(**options).remote()
    group: PlacementGroup | None = None
    done = threading.Event()
    keeper = threading.Thread(target=_keep_place, args=(queue, run, done), name="queue-keeper", daemon=True)
    try:
        while runs := _runs_ahead(queue, run):
            wait(f"behind {', '.join(runs)}")
            time.sleep(POLL_S)
        # The first run has to go on calling, also while its workers start.
        keeper.start()
        group = placement_group(bundles)
        while not group.wait(POLL_S):
            wait(f"the cluster has no room yet for {describe(bundles)}; free are {_free_resources()}")
        remove_placement_group(group)  # the workers take the room now
        group = None
        yield
    finally:
        done.set()
        if not is_ending():
            _leave(queue, run, group, keeper)


def _leave(queue: Any, run: str, group: PlacementGroup | None, keeper: threading.Thread) -> None:
    """Gives the place and the room back. A process that ends gives them back by its end."""
    if keeper.ident is not None:
        keeper.join(5)
    if group is not None:
        remove_placement_group(group)
    queue.leave.remote(run)


def worker_bundles(recipe: Recipe) -> list[dict[str, float]]:
    """The resources that each worker of the recipe requests from Ray."""
    bundles = []
    for ask in worker_requests(recipe.roles, has_learner_resource()):
        bundles += [ask.bundle] * ask.workers
    return bundles


def _runs_ahead(queue: Any, run: str) -> list[str]:
    return wait_for(queue.ahead.remote(run), 60, "the queue of runs")


def _keep_place(queue: Any, run: str, done: threading.Event) -> None:
    while not done.wait(GONE_S / 6):
        with contextlib.suppress(RemoteFailure):  # Ray restarts the actor; the next call joins again
            _runs_ahead(queue, run)


def _free_resources() -> str:
    free = ray.available_resources()
    names = ["CPU", "GPU"]
    if LEARNER_RESOURCE in free:
        names.append(LEARNER_RESOURCE)
    return ", ".join(f"{name} {free.get(name, 0):g}" for name in names)
