"""Joins the Ray cluster that is there, or starts a local one; and asks whether a run fits into it."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from actors.environment import ENVIRONMENT

from .errors import UserError
from .recipe import Recipe

LEARNER_RESOURCE = "learner"


@contextmanager
def ray_cluster(recipe: Recipe) -> Iterator[str]:
    """Connected to Ray for the time of the block: by RAY_ADDRESS, else to a cluster on this machine, else to one of
    our own that ends with the block. Yields the dashboard's address ("" where there is none).

    Raises:
        UserError: no connection, or the recipe asks for more than the cluster can ever have.
    """
    warnings.filterwarnings("ignore")
    environment = {"env_vars": dict(ENVIRONMENT)}
    if ray.is_initialized():  # a test, or a notebook, that holds the connection itself
        check_fits(recipe)
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
        check_fits(recipe)
        yield context.dashboard_url or ""
    finally:
        ray.shutdown()


def has_learner_resource() -> bool:
    """Whether some node offers the custom resource that keeps Ray Train from counting other actors' CPUs as its own."""
    return LEARNER_RESOURCE in _limits()


def check_fits(recipe: Recipe) -> None:
    """Raises UserError where the workers need more than the cluster has or its autoscaler may add."""
    limits = _limits()
    parts = [("rollout", recipe.rollout), ("reward", recipe.reward), ("learner", recipe.learner)]
    for resource, field in (("CPU", "cpus"), ("GPU", "gpus")):
        needs = {name: part.workers * getattr(part, field, 0) for name, part in parts}
        total, limit = math.fsum(needs.values()), limits.get(resource, 0.0)
        if total > limit + 1e-9:
            worst = max(needs, key=lambda name: needs[name])
            part = dict(parts)[worst]
            raise UserError(
                f"{worst}.workers: {part.workers} × {getattr(part, field):g} {resource} is more than this cluster can have: "
                f"all workers together need {total:g} {resource}, it has at most {limit:g}; "
                f"lower {worst}.workers or {worst}.{field}")


def _limits() -> dict[str, float]:
    from ray._private.state import state

    now, later = ray.cluster_resources(), state.get_max_resources_from_cluster_config() or {}
    return {name: max(now.get(name, 0.0), later.get(name, 0.0)) for name in {*now, *later}}
