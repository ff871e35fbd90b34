"""Which of a few tasks to draw: by what each is expected to teach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curriculum.sampling.expectations import Expectations
from curriculum.sampling.likeness import Likeness

CANDIDATES = 8  # tasks of the order from which one is drawn
FLOOR = 0.05  # of the weights: what is expected to teach nothing is drawn now and then, so that a change is noticed
RARE_SHARE = 0.1  # of the draws are by how rarely a task's findings were trained


@dataclass(frozen=True)
class Adaptive:
    """How a stage draws by what tasks teach.

    Attributes:
        stage: its name.
        group_size: responses to a task.
    """

    stage: str
    group_size: int


def choose(
    candidates: Sequence[Likeness], expectations: Expectations, group_size: int, rng: np.random.Generator
) -> int:
    """The number of the candidate to draw.

    In most draws its chance is in proportion to FLOOR + (1 − FLOOR) × its expected signal, in a share of them to
    1 / (1 + groups that were trained of its rarest finding).
    """
    if rng.random() < RARE_SHARE:
        weights = [_rarity(likeness, expectations) for likeness in candidates]
    else:
        signals = [expectations.of(likeness).signal(group_size) for likeness in candidates]
        weights = [FLOOR + (1 - FLOOR) * signal for signal in signals]
    edges = np.cumsum(weights)
    return min(int(np.searchsorted(edges, rng.random() * edges[-1], side="right")), len(candidates) - 1)


def _rarity(likeness: Likeness, expectations: Expectations) -> float:
    return 1 / (1 + min(expectations.groups(name) for name in likeness.levels[-1]))
