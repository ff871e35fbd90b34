"""The resources that a run holds, and whether they are within a quota."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.config.recipe import Recipe
from cluster.service.tokens import Quota


@dataclass(frozen=True)
class Holding:
    """The part of the cluster that a run holds, or will hold."""

    cpus: float
    gpus: float
    runs: int = 1


def holding(recipe: Recipe, driver_cpus: float, counts: Mapping[str, int | None]) -> Holding:
    """What a run holds at the largest size that its recipe lets it grow to by itself.

    Args:
        recipe: of the run.
        driver_cpus: of the run loop.
        counts: numbers of workers by kind that replace the recipe's; None or 0 leaves the recipe's.
    """
    workers = {kind: role.workers for kind, role in recipe.roles.items()}
    workers |= {kind: count for kind, count in counts.items() if count}
    workers["rollout"] = max(workers["rollout"], recipe.rollout.max or 0)
    cpus = sum(workers[kind] * role.cpus for kind, role in recipe.roles.items())
    gpus: float = sum(workers[kind] * getattr(role, "gpus", 0) for kind, role in recipe.roles.items())
    for own in recipe.reward.rules_with_workers.values():
        cpus += own.own_workers * own.worker_cpus
        gpus += own.own_workers * own.worker_gpus
    return Holding(driver_cpus + cpus, gpus)


def quota_fault(quota: Quota, run: Holding, others: Mapping[str, Holding]) -> str:
    """Why a run, beside the `others` by name, exceeds the quota; "" if it does not."""
    for name, limit in quota:
        if limit is None:
            continue
        amount = getattr(run, name)
        other_amounts = {other: getattr(other_run, name) for other, other_run in others.items()}
        if amount + sum(other_amounts.values()) > limit + 1e-9:
            beside = "".join(f", {other} holds {held:g}" for other, held in other_amounts.items() if held)
            return f"{name}: at most {limit:g} at once; this run takes {amount:g}{beside}"
    return ""
