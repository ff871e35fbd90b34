"""The settings of a work pool."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.pools.worker_health import Limits


@dataclass(frozen=True)
class WorkPoolConfig:
    """What a pool needs to know before it starts its workers.

    Attributes:
        run, kind: workers are named run/kind-rank.
        size: how many workers to start with.
        limits: how long a worker may be silent.
        min_share_s: the shortest limit of a share, however small it is.
        tries: how often a single item may fail along with its worker before it is given up.
        beat_s: seconds between two calls of an actor's method `ping`, by which it shows that it is alive; None for
            actors that cannot answer while they work. For those only the limit of a share counts.
        shares_each: how many shares a worker may have at once.
    """

    run: str
    kind: str
    size: int
    limits: Limits
    min_share_s: float
    tries: int = 1
    beat_s: float | None = None
    shares_each: int = 1
