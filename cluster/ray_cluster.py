"""Joins the Ray cluster that is there, or starts a local one; and asks whether a run fits into it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray

from actors.environment import ENVIRONMENT

from .errors import UserError
from .footprint import lacking
from .nodes import nodes_of
from .placement import asks_of, describe, place
from .recipe import Role

LEARNER_RESOURCE = "learner"


@contextmanager
def ray_cluster(roles: Mapping[str, Role]) -> Iterator[str]:
    """Connected to Ray for the time of the block: by RAY_ADDRESS, else to a cluster on this machine, else to one of
    our own that ends with the block. Yields the dashboard's address ("" where there is none).

    Args:
        roles: the workers that will be started, as `Recipe.roles` gives them.

    Raises:
        UserError: no connection, or they need more than the cluster can ever have.
    """
    warnings.filterwarnings("ignore")
    environment = {"env_vars": dict(ENVIRONMENT)}
    if ray.is_initialized():  # a test, or a notebook, that holds the connection itself
        check_fits(roles)
        yield ""
        return
    try:
        context = ray.init(log_to_driver=False, logging_level="ERROR", runtime_env=environment)
    except (ConnectionError, RuntimeError, ValueError) as error:
        address = os.environ.get("RAY_ADDRESS", "the Ray cluster on this machine")
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"no connection to {address}: {reason} A cluster started by `ray start` wants RAY_AUTH_MODE=token; "
                        "RAY_ADDRESS=local starts a cluster for this run alone.") from error
    try:
        check_fits(roles)
        yield context.dashboard_url or ""
    finally:
        ray.shutdown()


def near_driver() -> Any:
    """Places an actor on the driver's own node: as long as the run lives, so does the node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def has_learner_resource() -> bool:
    """Whether some node offers the custom resource that keeps Ray Train from counting other actors' CPUs as its own."""
    return LEARNER_RESOURCE in cluster_limits()


def check_fits(roles: Mapping[str, Role]) -> None:
    """Raises UserError where the workers need more than the cluster has or its autoscaler may add, or find no nodes."""
    from ray._private.state import state

    if fault := lacking(roles, cluster_limits()):
        raise UserError(fault)
    if "learner" in roles and roles["learner"].fewest < roles["learner"].workers and not has_learner_resource():
        # Ray Train starts as many as TOTAL resources would hold, those of other workers among them.
        raise UserError("learner.min_workers: no node of this cluster offers the custom resource learner, by which Ray Train knows "
                        "for how many ranks there is room; start nodes with --resources='{\"learner\": 1}', or leave min_workers out")
    if state.get_max_resources_from_cluster_config():
        return  # what nodes the autoscaler may bring is its affair
    nodes = nodes_of([{"name": node["NodeManagerAddress"], "resources": node["Resources"], "gpu_bytes": None}
                      for node in ray.nodes() if node["Alive"]], [])
    for ask in asks_of(roles, has_learner_resource()):
        if place([replace(ask, workers=1)], nodes).left:  # not all of them: packing is hard, and a miss no proof
            raise UserError(f"{ask.kind}: no node of this cluster is large enough for one worker, {describe([ask.bundle])}; lower "
                            f"{ask.kind}.cpus or what else it asks for, or see curlvpr plan")


def cluster_limits() -> dict[str, float]:
    """Of each resource, what the cluster has or its autoscaler may bring."""
    from ray._private.state import state

    now, later = ray.cluster_resources(), state.get_max_resources_from_cluster_config() or {}
    return {name: max(now.get(name, 0.0), later.get(name, 0.0)) for name in {*now, *later}}
