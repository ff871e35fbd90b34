"""The name of a version of the weights, and the probe by which a worker proves that it holds one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from actors.trajectory import Sample
from curriculum.task import Task


class Version(NamedTuple):
    """Weights by name: `number` counts the updates of the run; a learner that goes back to a commit begins a new
    `lineage`.
    """

    lineage: int
    number: int

    def __str__(self) -> str:
        return f"{self.lineage}.{self.number}"


ASLEEP = Version(-1, -1)  # "held" by a rollout worker whose engine has given its memory to the learner

Probe = list[tuple[Task, Sample, np.ndarray]]
"""Tasks, what the learner made of each with a response, and its log-probabilities, float32 [response tokens]."""
