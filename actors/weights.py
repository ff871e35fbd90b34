"""Weight transport: publish, fetch, verify.

The store is an actor that outlives the learner and owns the last few versions, so that a late or restarted worker can
still fetch one. A version travels as the bytes of one safetensors file, with a probe: tasks, what the learner made of them
and of responses to them, and the log-probabilities that it computed. A worker holds a version when its own engine gives the
same numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from curriculum.task import Task

from .trajectory import Sample


class Version(NamedTuple):
    """Weights by name: `number` counts the updates of the run; a learner that goes back to a commit begins a new `lineage`."""

    lineage: int
    number: int

    def __str__(self) -> str:
        return f"{self.lineage}.{self.number}"


ASLEEP = Version(-1, -1)  # what a rollout worker holds whose engine has given its memory to the learner
Probe = list[tuple[Task, Sample, np.ndarray]]  # with float32 [response tokens]


def pack(state: dict[str, Any]) -> np.ndarray:
    """A state dict of contiguous CPU tensors as uint8 [bytes] in the safetensors format (Ray shares it without a copy)."""
    from safetensors.torch import save

    return np.frombuffer(save(state), np.uint8)


class WeightStore:
    """Keeps the last `keep` versions; an asynchronous Ray actor."""

    def __init__(self, keep: int = 2) -> None:
        self.keep = keep
        self.versions: OrderedDict[Version, tuple[Any, Probe]] = OrderedDict()

    def __repr__(self) -> str:
        return "weight-store"

    async def publish(self, version: Version, weights: np.ndarray, probe: Probe) -> None:
        import ray

        # Put again here: an object dies with its owner, and the learner may die.
        self.versions[version] = (ray.put(weights), probe)
        while len(self.versions) > self.keep:
            self.versions.popitem(last=False)

    async def fetch(self, version: Version) -> tuple[Any, Probe]:
        """(reference to the bytes, probe) of a version.

        Raises:
            KeyError: it is not kept (any more).
        """
        if version not in self.versions:
            raise KeyError(f"weights version {version} is not kept; kept are {', '.join(map(str, self.versions)) or 'none'}")
        return self.versions[version]
