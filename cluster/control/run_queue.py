"""Several runs on one cluster: who comes first starts first, and only where the cluster has room for all its workers.

Otherwise two runs that fit one by one could each hold half of what it needs, and wait for the other half for ever.
"""

from __future__ import annotations

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
from cluster.planning.placement import asks_of, describe

POLL_S = 1.0
GONE_S = 30.0  # a run that has not asked for so long is no longer in the line


class RunQueue:
    """Runs that wait for room, in order; a named actor of the cluster. The first may start its workers."""

    def __init__(self) -> None:
        self.asked: dict[str, float] = {}

    def __repr__(self) -> str:
        return "line-of-runs"

    def ahead(self, run: str) -> list[str]:
        """Who is before `run`, which stands at the end where it is new."""
        now = time.monotonic()
        self.asked = {other: at for other, at in self.asked.items() if now - at < GONE_S} | {run: now}
        runs = list(self.asked)
        return runs[: runs.index(run)]

    def leave(self, run: str) -> None:
        self.asked.pop(run, None)


@contextmanager
def wait_for_slot(run: str, bundles: list[dict[str, float]], wait: Callable[[str], None]) -> Iterator[None]:
    """Waits until it is the run's turn and the cluster has room for all bundles; until the block ends nobody else starts.

    Args:
        run: a name that no other run of the cluster has.
        bundles: what each worker asks for, as `worker_bundles` gives it. An autoscaler sees them and brings nodes.
        wait: is called every second while the run waits, with the reason; what it raises ends the wait.
    """
    line = (
        ray.remote(RunQueue)
        .options(
            name="line-of-runs",
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
        )
        .remote()
    )
    group: PlacementGroup | None = None
    over = threading.Event()
    keeper = threading.Thread(target=_keep, args=(line, run, over), name="turn", daemon=True)
    try:
        while ahead := _ahead(line, run):
            wait(f"behind {', '.join(ahead)}")
            time.sleep(POLL_S)
        # Whoever holds the turn has to go on asking, also while its workers start.
        keeper.start()
        group = placement_group(bundles)
        while not group.wait(POLL_S):
            wait(f"the cluster has no room yet for {describe(bundles)}; free are {_free()}")
        remove_placement_group(group)  # the workers take the room now
        group = None
        yield
    finally:
        over.set()
        if keeper.ident is not None:
            keeper.join(5)
        if group is not None:
            remove_placement_group(group)
        line.leave.remote(run)


def worker_bundles(recipe: Recipe) -> list[dict[str, float]]:
    """What each worker of the recipe asks Ray for."""
    return [ask.bundle for ask in asks_of(recipe.roles, has_learner_resource()) for _ in range(ask.workers)]


def _ahead(line: Any, run: str) -> list[str]:
    return wait_for(line.ahead.remote(run), 60, "the line of runs")


def _keep(line: Any, run: str, over: threading.Event) -> None:
    while not over.wait(GONE_S / 6):
        try:
            _ahead(line, run)
        except RemoteFailure:  # it is started anew, and asked again
            pass


def _free() -> str:
    free = ray.available_resources()
    return ", ".join(
        f"{name} {free.get(name, 0):g}"
        for name in ("CPU", "GPU", LEARNER_RESOURCE)
        if name in ("CPU", "GPU") or name in free
    )
