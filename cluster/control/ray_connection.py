"""Joins an existing Ray cluster, or starts a local one, and checks whether a run fits into it."""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from actors.learner.config import LearnerConfig
from actors.runtime.environment import ENVIRONMENT
from cluster.config.recipe import Role
from cluster.control.cluster_watch import ClusterWatch
from cluster.control.own_cluster import (
    Say,
    end_own_cluster,
    end_what_is_left,
    kill_own_workers,
    marked,
    system_processes,
)
from cluster.control.ray_address import ADVICE, cluster_to_join, describe_cluster, raylet_of
from cluster.errors import TOKEN_ADVICE, UserError, first_sentence
from cluster.planning.footprint import missing_resource
from cluster.planning.nodes import nodes_of
from cluster.planning.placement import describe, place, worker_requests
from cluster.signals import current

LEARNER_RESOURCE = "learner"


@contextmanager
def ray_cluster(roles: Mapping[str, Role], say: Say = lambda line: None) -> Iterator[str]:
    """A connection to Ray for the duration of the block.

    Joins the cluster of RAY_ADDRESS, else one that `ray start` started on this machine, else starts one that ends with
    the block. If the cluster goes away, or a signal ends the process, the block ends with KeyboardInterrupt.

    Args:
        roles: the workers that will be started, from `Recipe.roles`.
        say: is given a line about a cluster that is joined, and about what a dead command left.

    Yields:
        The dashboard's address ("" if there is none).

    Raises:
        UserError: no connection, the workers need more than the cluster can ever have, or nodes share a code folder.
    """
    warnings.filterwarnings("ignore")
    if ray.is_initialized():  # by a test, or a notebook, that holds the connection itself
        check_fits(roles)
        yield ""
        return
    end_what_is_left(say)
    address = cluster_to_join()
    context = join(address)
    try:
        if address:
            say(describe_cluster(address, ray.cluster_resources(), sum(node["Alive"] for node in ray.nodes())))
        check_code(Path.cwd(), ray.nodes())
        check_fits(roles)
        with _watched(address):
            yield context.dashboard_url or ""
    finally:
        leave()


def join(address: str | None, **options: Any) -> Any:
    """Calls `ray.init` with a run's environment.

    Args:
        address: from `cluster_to_join`; None starts a cluster for this process alone. End it with `leave`.
        options: further ones of `ray.init`.

    Returns:
        Ray's context.

    Raises:
        UserError: no connection, or Ray does not start.
    """
    options |= {"log_to_driver": False, "logging_level": "CRITICAL"}
    logging.getLogger("ray._private").setLevel(logging.CRITICAL)  # what is wrong is in the error, without pages of log
    options["runtime_env"] = {"env_vars": dict(ENVIRONMENT)}
    ray._private.worker._worker_logs_enabled = False  # nor more of it when a process of Ray dies
    try:
        with own_handlers():
            if address:
                return ray.init(address, **options)
            if signals := current():
                signals.before_exit, signals.owns_cluster = kill_own_workers, True
            with marked():
                return ray.init("local", **options)
    except Exception as error:  # Ray raises many kinds, Exception itself among them
        if address:
            raise UserError(f"no connection to {address}: {first_sentence(error)}; {TOKEN_ADVICE}; {ADVICE}") from error
        end_own_cluster()
        raise UserError(f"Ray does not start on this machine: {first_sentence(error)}{_busy()}") from error


def leave() -> None:
    """Ends the connection, and the cluster if it is this process's own. Left to the end of a process that ends now."""
    signals = current()
    if signals and signals.ending and signals.owns_process:
        return
    ray.shutdown()
    end_own_cluster()
    if signals:
        signals.owns_cluster = False
        signals.renew()  # Ray's end leaves SIGTERM to the system, which ends the process without a word


@contextmanager
def _watched(address: str | None) -> Iterator[None]:
    """Ends what the process does if its cluster goes away. Without the process's signals nobody could be told."""
    signals = current()
    if signals is None:
        yield
        return
    head = ray.get_runtime_context().gcs_address
    if address is None:
        processes = system_processes()
    else:
        raylet = raylet_of(head)
        processes = {"raylet": raylet} if raylet else {}
    with ClusterWatch(head, processes, "the" if address else "this command's own", signals.lose) as watch:
        try:
            yield
        except Exception:  # of a call that the end of the cluster broke, before the watch has noticed
            if why := watch.ended_process():
                signals.lose(why)
            signals.check()
            raise


@contextmanager
def own_handlers() -> Iterator[None]:
    """Keeps `ray.init` from handling SIGTERM: Ray ends its own processes then, and this one crashes without them."""
    from ray._private import utils

    signals = current()
    if signals is None:
        yield
        return
    ray_sets = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = ray_sets
        signals.renew()


def _busy() -> str:
    """What may be why Ray does not start in time."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < 2 * cores:
        return ""
    return f"; this machine is busy ({load:.0f} processes want its {cores} cores): try again when it is less so"


def near_driver() -> Any:
    """The scheduling strategy that puts an actor on the driver's node, which lives as long as the run."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def has_learner_resource() -> bool:
    """Whether a node offers the custom resource that keeps Ray Train from counting other actors' CPUs as its own."""
    return LEARNER_RESOURCE in cluster_limits()


def check_code(working_folder: Path, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Refuses to run a job's code from a folder that several nodes of one machine share.

    Each of those nodes unpacks the code there again, and so removes it under the processes that run from it.

    Args:
        working_folder: of this process.
        nodes: from `ray.nodes()`.

    Raises:
        UserError: the code came with a job, and nodes share its folder.
    """
    if "working_dir_files" not in working_folder.parts:
        return
    sessions = Counter(
        (node["NodeManagerAddress"], Path(node["RayletSocketName"]).parents[2]) for node in nodes if node["Alive"]
    )
    for (address, folder), count in sessions.items():
        if count > 1:
            raise UserError(
                f"{count} nodes on {address} share {folder}, and would remove this job's code under each other; start "
                f"each further one as `ray start --address=… --temp-dir={folder}-2`, with a folder of its own"
            )


def check_fits(roles: Mapping[str, Role]) -> None:
    """Checks that the cluster, with the nodes its autoscaler may add, can hold the workers.

    Raises:
        UserError: they need more than that in total, or no node is large enough for one of them.
    """
    from ray._private.state import state

    if fault := missing_resource(roles, cluster_limits()):
        raise UserError(fault)
    learner = roles.get("learner")
    if isinstance(learner, LearnerConfig) and learner.fewest < learner.workers and not has_learner_resource():
        # Ray Train would start as many ranks as the TOTAL resources hold, those of other workers included.
        raise UserError(
            "learner.min_workers: no node of this cluster offers the custom resource learner, by which Ray Train knows "
            "how many ranks fit; start nodes with --resources='{\"learner\": 1}', or leave min_workers out"
        )
    if state.get_max_resources_from_cluster_config():
        return  # the nodes that the autoscaler may bring are unknown here
    nodes = nodes_of(
        [
            {"name": node["NodeManagerAddress"], "resources": node["Resources"], "gpu_bytes": None}
            for node in ray.nodes()
            if node["Alive"]
        ],
        [],
    )
    for ask in worker_requests(roles, has_learner_resource()):
        if place([replace(ask, workers=1)], nodes).unplaced:  # one at a time: packing all is hard, and a miss no proof
            raise UserError(
                f"{ask.kind}: no node of this cluster is large enough for one worker, {describe([ask.bundle])}; lower "
                f"{ask.kind}.cpus or its other resources, or see curlvpr plan"
            )


def cluster_limits() -> dict[str, float]:
    """The maximum of each resource: what the cluster has or its autoscaler may bring."""
    from ray._private.state import state

    now = ray.cluster_resources()
    later = state.get_max_resources_from_cluster_config() or {}
    return {name: max(now.get(name, 0.0), later.get(name, 0.0)) for name in {*now, *later}}
