"""Work on a task set, spread over the cores and nodes of a Ray cluster by Ray Data."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray.data

from cluster.control.ray_connection import ray_cluster
from cluster.errors import tell
from curriculum.sets.mapped import Spread


def on_cluster(function: Callable[[Any], Any], parts: Sequence[Any]) -> Iterator[Any]:
    """A `Spread` (`curriculum.check`): the results are those of `map`, in the same order.

    Every node must reach the files of the set under the same paths.
    """
    if not parts:
        return
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False

    def apply(row: dict[str, Any]) -> dict[str, bytes]:
        return {"found": pickle.dumps(function(pickle.loads(row["part"])))}

    packed = [{"part": pickle.dumps(part)} for part in parts]
    found = ray.data.from_items(packed, override_num_blocks=len(packed)).map(apply)
    for row in found.iter_rows():
        yield pickle.loads(row["found"])


@contextmanager
def spread_over(cluster: bool) -> Iterator[Spread | None]:
    """Who does the work of a set inside the block: the Ray cluster that a run would use, or this process (None).

    Raises:
        UserError: there is no connection to the cluster.
    """
    if not cluster:
        yield None
        return
    with ray_cluster({}, tell):
        yield on_cluster
