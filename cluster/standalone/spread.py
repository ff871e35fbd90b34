"""Work on a task set, spread over the cores and nodes of a Ray cluster by Ray Data."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.util.annotations import RayDeprecationWarning

from actors.runtime.remote import RemoteFailure, ray_failure
from cluster.control.ray_connection import ray_cluster
from cluster.errors import error_line, tell
from curriculum.sets.mapped import Spread
from curriculum.taskset import TaskSetError

PROGRESS_S = 900.0  # the longest time without a finished part
TRIES_AGAIN = 2  # of a part whose process died


def on_cluster(function: Callable[[Any], Any], parts: Sequence[Any]) -> Iterator[Any]:
    """A `Spread` (`curriculum.sets.mapped`): the results are those of `map`, in the same order, and so are its faults.

    Every node must reach the files of the set under the same paths.

    Raises:
        TaskSetError, OSError: as `function`.
        RemoteFailure: `function` raised anything else, the process of a part died each time, or no part was finished
            for `PROGRESS_S`.
    """
    if not parts:
        return
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = PROGRESS_S
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what goes wrong is told in one line

    def apply(row: dict[str, Any]) -> dict[str, bytes]:
        try:
            return {"found": pickle.dumps(function(pickle.loads(row["part"])))}
        except (TaskSetError, OSError) as error:  # a fault of the data, as it would be raised here
            return {"found": pickle.dumps(_Fault(error))}
        except Exception as error:  # noqa: BLE001 (it is raised where the results are read)
            return {"found": pickle.dumps(_Fault(RemoteFailure(f"--cluster: a worker failed: {error_line(error)}")))}

    packed = [{"part": pickle.dumps(part)} for part in parts]
    with warnings.catch_warnings():  # Ray 2.60 has no other way yet to say how often; its default is for ever
        warnings.simplefilter("ignore", RayDeprecationWarning)
        work = ray.data.from_items(packed, override_num_blocks=len(packed)).map(apply, max_retries=TRIES_AGAIN)
    for row in _told(work.iter_rows()):
        found = pickle.loads(row["found"])
        if isinstance(found, _Fault):
            raise found.error
        yield found


class _Fault:
    """What a function raised, on its way to this process."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _told(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows; what goes wrong on their way becomes one line."""
    try:
        yield from rows
    except ExecutionTimeoutError as error:
        free, total = (found.get("CPU", 0) for found in (ray.available_resources(), ray.cluster_resources()))
        raise RemoteFailure(
            f"--cluster: no part of the work was finished in {PROGRESS_S / 60:g} minutes; {free:g} of the cluster's "
            f"{total:g} CPUs are free"
        ) from error
    except ray.exceptions.RayError as error:
        raise RemoteFailure(
            f"--cluster: a part of the work was lost {TRIES_AGAIN + 1} times; {ray_failure(error)}"
        ) from error


@contextmanager
def spread_over() -> Iterator[Spread]:
    """Spreads work over the Ray cluster that a run would use, for the duration of the block.

    Raises:
        UserError: there is no connection to the cluster.
    """
    with ray_cluster({}, tell):
        yield on_cluster
