"""What the groups of like tasks showed, newer ones counting more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

HALF_LIFE = 40  # versions of the weights after which a group counts half
FORGOTTEN = 8 * HALF_LIFE  # after which it does not count


class Evidence(NamedTuple):
    """Sums over groups, each times 2^(−age / HALF_LIFE): what an older policy could do says less about the present one.

    Attributes:
        version: of the weights, at which the sums hold.
        groups: how many there were.
        responses: how many there were.
        passed: sum of their outcomes.
        graded: responses whose outcome is neither 0 nor 1.
        spread: sum of `spread_of` over the groups.
        variance: over groups of tasks that were new, the sum of the unbiased variance of their outcomes.
        room: over the same groups, the sum of m (1 − m) with the pass rate m that was expected of their findings: the
            variance that they would have if tasks of a finding were all alike.
    """

    version: int = 0
    groups: float = 0.0
    responses: float = 0.0
    passed: float = 0.0
    graded: float = 0.0
    spread: float = 0.0
    variance: float = 0.0
    room: float = 0.0

    def at(self, version: int) -> Evidence:
        """The same at a later version."""
        age = version - self.version
        if age <= 0:
            return self
        if age >= FORGOTTEN:
            return Evidence(version)
        factor = 0.5 ** (age / HALF_LIFE)
        return Evidence(version, *(factor * value for value in self[1:]))

    def with_group(
        self, outcomes: Sequence[float], version: int, weight: float = 1.0, expected: float | None = None
    ) -> Evidence:
        """The same and one more group, which counts `weight`.

        Args:
            expected: the pass rate m that was expected of the task's findings, if the task is new.
        """
        old = self.at(version)
        variance = room = 0.0
        if expected is not None and len(outcomes) > 1:
            variance = float(np.var(outcomes, ddof=1))
            room = expected * (1 - expected)
        return Evidence(
            version,
            old.groups + weight,
            old.responses + weight * len(outcomes),
            old.passed + weight * sum(outcomes),
            old.graded + weight * sum(0 < outcome < 1 for outcome in outcomes),
            old.spread + weight * spread_of(outcomes),
            old.variance + weight * variance,
            old.room + weight * room,
        )


NOTHING = Evidence()


def spread_of(outcomes: Sequence[float]) -> float:
    """How far the outcomes of a group are apart: twice their standard deviation, in [0, 1] for outcomes in [0, 1]."""
    return 2 * float(np.std(outcomes))
