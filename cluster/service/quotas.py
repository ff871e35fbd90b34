"""What a run holds of the cluster, and whether that is within a quota."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.config.recipe import Recipe
from cluster.service.tokens import Quota


@dataclass(frozen=True)
class Held:
    """What a run holds of the cluster, or will."""

    cpus: float
    gpus: float
    runs: int = 1


def held(recipe: Recipe, driver_cpus: float, counts: Mapping[str, int | None]) -> Held:
    """Of a run at the largest that its recipe lets it grow to by itself; of the kinds in `counts` so many workers, where it is
    a number."""
    most = {kind: part.workers for kind, part in recipe.roles.items()} | {
        kind: count for kind, count in counts.items() if count
    }
    most["rollout"] = max(most["rollout"], recipe.rollout.max or 0)
    return Held(
        driver_cpus + sum(most[kind] * part.cpus for kind, part in recipe.roles.items()),
        sum(most[kind] * getattr(part, "gpus", 0) for kind, part in recipe.roles.items()),
    )


def exceeds(quota: Quota, wanted: Held, others: Mapping[str, Held]) -> str:
    """Why a run that holds `wanted`, beside the `others` by name, is more than the quota allows; "" where it is not."""
    for name, most in quota:
        mine, theirs = getattr(wanted, name), {run: getattr(one, name) for run, one in others.items()}
        if most is not None and mine + sum(theirs.values()) > most + 1e-9:
            beside = "".join(f", {run} holds {count:g}" for run, count in theirs.items() if count)
            return f"{name}: at most {most:g} at once; this run takes {mine:g}{beside}"
    return ""
