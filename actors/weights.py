"""Weight transport: publish, fetch, verify.

The store is an actor that outlives the learner and owns the last few versions, so that a late or restarted worker can
still fetch one. A version travels as the bytes of one safetensors file, with a probe: samples and the log-probabilities
that the learner computed for them. A worker holds a version when its own engine gives the same numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

Probe = list[tuple[Any, np.ndarray]]  # (actors.policy.Sample, float32 [response tokens])


def pack(state: dict[str, Any]) -> np.ndarray:
    """A state dict of contiguous CPU tensors as uint8 [bytes] in the safetensors format (Ray shares it without a copy)."""
    from safetensors.torch import save

    return np.frombuffer(save(state), np.uint8)


class WeightStore:
    """Keeps the last `keep` versions; an asynchronous Ray actor."""

    def __init__(self, keep: int = 2) -> None:
        self.keep = keep
        self.versions: OrderedDict[int, tuple[Any, Probe]] = OrderedDict()

    def __repr__(self) -> str:
        return "weight-store"

    async def publish(self, version: int, weights: np.ndarray, probe: Probe) -> None:
        import ray

        # Put again here: an object dies with its owner, and the learner may die.
        self.versions[version] = (ray.put(weights), probe)
        while len(self.versions) > self.keep:
            self.versions.popitem(last=False)

    async def fetch(self, version: int) -> tuple[Any, Probe]:
        """(reference to the bytes, probe) of a version.

        Raises:
            KeyError: it is not kept (any more).
        """
        if version not in self.versions:
            raise KeyError(f"weights version {version} is not kept; kept are {list(self.versions)}")
        return self.versions[version]
