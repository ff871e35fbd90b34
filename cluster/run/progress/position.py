"""Where a run is in its training: counters that every part of the run reads."""

from __future__ import annotations

from dataclasses import dataclass

from actors.weights.version import Version


@dataclass
class Position:
    """The run's counters.

    Attributes:
        step: steps of all stages so far.
        version: updates of the weights so far; a step makes one or several.
        lineage: how often the learner went back to a commit. Versions of an older lineage are dead.
    """

    step: int = 0
    version: int = 0
    lineage: int = 0

    @property
    def weights(self) -> Version:
        """The name of the learner's present weights."""
        return Version(self.lineage, self.version)
