"""Which worker goes to which node: a small bin-packing by what Ray counts. Ray itself does not look at memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cluster.config.recipe import Role
from cluster.planning.nodes import Node

EPSILON = 1e-9


@dataclass(frozen=True)
class Ask:
    """What Ray is asked for one of `workers` alike. A worker sits on one node; its GPUs are whole, or a part of one."""

    kind: str
    workers: int
    cpus: float
    gpus: float = 0
    learner: float = 0

    @property
    def bundle(self) -> dict[str, float]:
        """What one worker asks for, in Ray's words."""
        return {
            name: count for name, count in (("CPU", self.cpus), ("GPU", self.gpus), ("learner", self.learner)) if count
        }


def asks_of(roles: Mapping[str, Role], learner: bool) -> list[Ask]:
    """The workers that hold resources, as few as a run goes on with; see `workers.Workers`.

    Args:
        learner: whether some node offers the resource of this name; then each rank wants one.
    """
    return [
        Ask(
            kind,
            getattr(part, "fewest", part.workers),
            part.cpus,
            getattr(part, "gpus", 0),
            float(learner and kind == "learner"),
        )
        for kind, part in roles.items()
    ]


@dataclass
class Seat:
    """A node while it fills: what is free, and how many workers of each kind it holds. `gpus` is the free part of each GPU."""

    node: Node
    cpus: float
    learner: float
    gpus: list[float]
    holds: Counter[str] = field(default_factory=Counter)

    def take(self, ask: Ask) -> bool:
        """Puts one worker here, if it fits."""
        chosen = self._gpus_for(ask.gpus)
        if chosen is None or ask.cpus > self.cpus + EPSILON or ask.learner > self.learner + EPSILON:
            return False
        for number in chosen:
            self.gpus[number] -= min(1.0, ask.gpus)
        self.cpus, self.learner = self.cpus - ask.cpus, self.learner - ask.learner
        self.holds[ask.kind] += 1
        return True

    def _gpus_for(self, gpus: float) -> list[int] | None:
        """Which GPUs a worker would get: the fullest with room for a part, or the first that are all free; None: too few are."""
        if gpus < 1:
            room = [i for i, free in enumerate(self.gpus) if gpus <= free + EPSILON]
            return [min(room, key=lambda i: self.gpus[i])] if room and gpus else ([] if not gpus else None)
        free = [i for i, free in enumerate(self.gpus) if free > 1 - EPSILON]
        return free[: int(gpus)] if len(free) >= gpus else None


@dataclass(frozen=True)
class Placement:
    """Nodes with what they hold, and how many workers of each kind found none."""

    seats: Sequence[Seat]
    left: Mapping[str, int]


def describe(bundles: Sequence[Mapping[str, float]]) -> str:
    """ "2 × (CPU 4, GPU 1), 1 × (CPU 0.5)" """
    kinds = Counter(", ".join(f"{name} {count:g}" for name, count in bundle.items()) for bundle in bundles)
    return ", ".join(f"{count} × ({words})" for words, count in kinds.items())


def place(asks: Sequence[Ask], nodes: Sequence[Node]) -> Placement:
    """Largest first, each worker onto the fullest node that can take it, those that spare the GPUs and `learner` first.

    A placement without `left` is proof that the workers fit. Packing is hard, and this tries two orders only (by the custom
    resource, by GPUs); where sizes divide one another, as tensor-parallel ones do, it misses none.
    """
    orders = (lambda a: (-a.learner, -a.gpus, -a.cpus), lambda a: (-a.gpus, -a.learner, -a.cpus))
    tries = [_fill(sorted(asks, key=order), nodes) for order in orders]
    return min(tries, key=lambda placement: sum(placement.left.values()))


def _fill(asks: Sequence[Ask], nodes: Sequence[Node]) -> Placement:
    seats = [Seat(node, node.cpus, node.learner, [1.0] * node.gpus) for node in nodes]
    left: Counter[str] = Counter()
    for ask in asks:
        for number in range(ask.workers):
            order = sorted(seats, key=lambda seat: (seat.learner if not ask.learner else 0, sum(seat.gpus), seat.cpus))
            if not any(seat.take(ask) for seat in order):
                left[ask.kind] = ask.workers - number
                break
    return Placement(seats, left)
