"""Joins the Ray cluster that is there, or starts a local one; and asks whether a run fits into it."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from actors.runtime.environment import ENVIRONMENT
from cluster.config.recipe import Role
from cluster.errors import TOKEN_ADVICE, UserError, first_sentence
from cluster.planning.footprint import lacking
from cluster.planning.nodes import nodes_of
from cluster.planning.placement import asks_of, describe, place

LEARNER_RESOURCE = "learner"


@contextmanager
def ray_cluster(roles: Mapping[str, Role]) -> Iterator[str]:
    """Connected to Ray for the time of the block: by RAY_ADDRESS, else to a cluster on this machine, else to one of
    our own that ends with the block. Yields the dashboard's address ("" where there is none).

    Args:
        roles: the workers that will be started, as `Recipe.roles` gives them.

    Raises:
        UserError: no connection, or they need more than the cluster can ever have, or nodes share a folder of code.
    """
    warnings.filterwarnings("ignore")
    if ray.is_initialized():  # a test, or a notebook, that holds the connection itself
        check_fits(roles)
        yield ""
        return
    context = join()
    try:
        check_code(Path.cwd(), ray.nodes())
        check_fits(roles)
        yield context.dashboard_url or ""
    finally:
        ray.shutdown()


def join(**options: Any) -> Any:
    """`ray.init(**options)` with a run's environment. Returns Ray's context. Raises UserError: no connection."""
    try:
        return ray.init(
            log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": dict(ENVIRONMENT)}, **options
        )
    except (ConnectionError, RuntimeError, ValueError, AuthenticationError) as error:
        address = os.environ.get("RAY_ADDRESS", "the Ray cluster on this machine")
        raise UserError(
            f"no connection to {address}: {first_sentence(error)}; {TOKEN_ADVICE}; RAY_ADDRESS=HOST:PORT names a "
            "cluster, RAY_ADDRESS=local starts one for this command alone"
        ) from error


def near_driver() -> Any:
    """Places an actor on the driver's own node: as long as the run lives, so does the node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def has_learner_resource() -> bool:
    """Whether some node offers the custom resource that keeps Ray Train from counting other actors' CPUs as its own."""
    return LEARNER_RESOURCE in cluster_limits()


def check_code(here: Path, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Raises UserError where this process runs from code that came with a job, in a folder that several nodes of one machine
    share: each of them unpacks the code there again, and takes it away from under those that run from it.

    Args:
        here: the working directory.
        nodes: as `ray.nodes()` gives them.
    """
    if "working_dir_files" not in here.parts:
        return
    sessions = Counter(
        (node["NodeManagerAddress"], Path(node["RayletSocketName"]).parents[2]) for node in nodes if node["Alive"]
    )
    for (address, folder), count in sessions.items():
        if count > 1:
            raise UserError(
                f"{count} nodes on {address} share {folder}, and would take this job's code away from each other; start "
                f"each further one as `ray start --address=… --temp-dir={folder}-2`, a folder of its own"
            )


def check_fits(roles: Mapping[str, Role]) -> None:
    """Raises UserError where the workers need more than the cluster has or its autoscaler may add, or find no nodes."""
    from ray._private.state import state

    if fault := lacking(roles, cluster_limits()):
        raise UserError(fault)
    if "learner" in roles and roles["learner"].fewest < roles["learner"].workers and not has_learner_resource():
        # Ray Train starts as many as TOTAL resources would hold, those of other workers among them.
        raise UserError(
            "learner.min_workers: no node of this cluster offers the custom resource learner, by which Ray Train knows "
            "for how many ranks there is room; start nodes with --resources='{\"learner\": 1}', or leave min_workers out"
        )
    if state.get_max_resources_from_cluster_config():
        return  # what nodes the autoscaler may bring is its affair
    nodes = nodes_of(
        [
            {"name": node["NodeManagerAddress"], "resources": node["Resources"], "gpu_bytes": None}
            for node in ray.nodes()
            if node["Alive"]
        ],
        [],
    )
    for ask in asks_of(roles, has_learner_resource()):
        if place([replace(ask, workers=1)], nodes).left:  # not all of them: packing is hard, and a miss no proof
            raise UserError(
                f"{ask.kind}: no node of this cluster is large enough for one worker, {describe([ask.bundle])}; lower "
                f"{ask.kind}.cpus or what else it asks for, or see curlvpr plan"
            )


def cluster_limits() -> dict[str, float]:
    """Of each resource, what the cluster has or its autoscaler may bring."""
    from ray._private.state import state

    now, later = ray.cluster_resources(), state.get_max_resources_from_cluster_config() or {}
    return {name: max(now.get(name, 0.0), later.get(name, 0.0)) for name in {*now, *later}}
