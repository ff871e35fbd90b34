"""Which worker goes to which node: a small bin packing by the resources that Ray counts.

Ray does not look at memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from actors.reward import RewardWorkersConfig
from cluster.config.recipe import Role
from cluster.planning.nodes import Node

EPSILON = 1e-9


@dataclass(frozen=True)
class WorkerRequest:
    """The resources of each of `workers` equal workers.

    A worker runs on one node; its GPUs are whole, or a part of one.
    """

    kind: str
    workers: int
    cpus: float
    gpus: float = 0
    learner: float = 0

    @property
    def bundle(self) -> dict[str, float]:
        """The resources of one worker by the names that Ray gives them."""
        resources = {"CPU": self.cpus, "GPU": self.gpus, "learner": self.learner}
        return {name: count for name, count in resources.items() if count}


def worker_requests(roles: Mapping[str, Role], learner: bool) -> list[WorkerRequest]:
    """The workers that hold resources, at the smallest number that a run can continue with; see `workers.Workers`.

    Workers of an own rule have its path in the recipe as their kind.

    Args:
        learner: whether some node offers the custom resource `learner`; then each rank needs one.
    """
    requests = []
    for kind, role in roles.items():
        workers = getattr(role, "fewest", role.workers)
        gpus = getattr(role, "gpus", 0)
        requests.append(WorkerRequest(kind, workers, role.cpus, gpus, float(learner and kind == "learner")))
        if isinstance(role, RewardWorkersConfig):
            for name, own in role.rules_with_workers.items():
                path = f"{kind}.rules.own.{name}"
                requests.append(WorkerRequest(path, own.own_workers, own.worker_cpus, own.worker_gpus))
    return requests


@dataclass
class NodeLoad:
    """A node with workers on it.

    Attributes:
        cpus, learner: what is still free.
        gpus: the free part of each GPU.
        holds: workers on the node by kind.
    """

    node: Node
    cpus: float
    learner: float
    gpus: list[float]
    holds: Counter[str] = field(default_factory=Counter)

    def take(self, request: WorkerRequest) -> bool:
        """Puts one worker on the node. Returns whether it fits."""
        chosen = self._gpus_for(request.gpus)
        if chosen is None or request.cpus > self.cpus + EPSILON or request.learner > self.learner + EPSILON:
            return False
        for number in chosen:
            self.gpus[number] -= min(1.0, request.gpus)
        self.cpus -= request.cpus
        self.learner -= request.learner
        self.holds[request.kind] += 1
        return True

    def _gpus_for(self, gpus: float) -> list[int] | None:
        """The numbers of the GPUs that a worker would get; None if too few are free.

        A part of a GPU goes to the fullest one with enough left; whole GPUs are the first that are all free.
        """
        if not gpus:
            return []
        if gpus < 1:
            fitting = [i for i, free in enumerate(self.gpus) if gpus <= free + EPSILON]
            return [min(fitting, key=lambda i: self.gpus[i])] if fitting else None
        whole = [i for i, free in enumerate(self.gpus) if free > 1 - EPSILON]
        return whole[: int(gpus)] if len(whole) >= gpus else None


@dataclass(frozen=True)
class Placement:
    """Nodes with the workers on them.

    Attributes:
        unplaced: how many workers of each kind fit on no node.
    """

    loads: Sequence[NodeLoad]
    unplaced: Mapping[str, int]


def describe(bundles: Sequence[Mapping[str, float]]) -> str:
    """ "2 × (CPU 4, GPU 1), 1 × (CPU 0.5)" """
    kinds = Counter(", ".join(f"{name} {count:g}" for name, count in bundle.items()) for bundle in bundles)
    return ", ".join(f"{count} × ({words})" for words, count in kinds.items())


def place(requests: Sequence[WorkerRequest], nodes: Sequence[Node]) -> Placement:
    """Places the largest workers first, each on the fullest node that can take it.

    Nodes with fewer free GPUs, and less of `learner` for workers that need none, come first. A placement without
    `unplaced` proves that the workers fit. Packing is hard, and this tries only two orders (by the custom resource,
    by GPUs). If the sizes divide one another, as tensor-parallel ones do, it misses no placement.
    """
    by_learner = sorted(requests, key=lambda request: (-request.learner, -request.gpus, -request.cpus))
    by_gpus = sorted(requests, key=lambda request: (-request.gpus, -request.learner, -request.cpus))
    placements = [_fill(by_learner, nodes), _fill(by_gpus, nodes)]
    return min(placements, key=lambda placement: sum(placement.unplaced.values()))


def _fill(requests: Sequence[WorkerRequest], nodes: Sequence[Node]) -> Placement:
    loads = [NodeLoad(node, node.cpus, node.learner, [1.0] * node.gpus) for node in nodes]
    unplaced: Counter[str] = Counter()
    for request in requests:
        for number in range(request.workers):
            order = sorted(
                loads, key=lambda load: (load.learner if not request.learner else 0, sum(load.gpus), load.cpus)
            )
            if not any(load.take(request) for load in order):
                unplaced[request.kind] = request.workers - number
                break
    return Placement(loads, unplaced)
