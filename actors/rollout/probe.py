"""What a probe shows: how far the engine's log-probabilities are from the learner's, and how far they may be.

In float32 both sides agree to about 1e-6. In 16 bits they never do: kernels round at other places, and a few tokens
differ by a tenth or more while the mean stays near a thousandth. So the mean decides, and the largest difference has a
coarse bound of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

FLOAT32_TOLERANCE = 1e-5
HALF_TOLERANCE = 0.05
LARGEST = 30  # how many times the tolerance of the mean one token may differ


class ProbeDifference(NamedTuple):
    """|engine − learner| of log-probabilities over the response tokens of a probe, in nats."""

    mean: float
    largest: float

    @staticmethod
    def over(differences: Iterable[np.ndarray]) -> ProbeDifference:
        """The summary of the differences of each sample, float [response tokens]; NaN if any is."""
        together = np.abs(np.concatenate([np.zeros(0), *differences]))
        return (
            ProbeDifference(float(together.mean()), float(together.max())) if len(together) else ProbeDifference(0, 0)
        )


def default_tolerance(dtype: str) -> float:
    """Of the mean difference, for weights of a type."""
    return FLOAT32_TOLERANCE if dtype == "float32" else HALF_TOLERANCE


def probe_fault(difference: ProbeDifference, tolerance: float) -> str:
    """Why the engine does not hold the learner's weights, "" if it does."""
    if difference.mean <= tolerance and difference.largest <= LARGEST * tolerance:
        return ""
    return (
        f"log-probabilities of the probe differ by {difference.mean:.2g} in the mean and {difference.largest:.2g} at "
        f"most; rollout.probe_tolerance allows {tolerance:g} and {LARGEST * tolerance:g}"
    )
