"""How many rollout workers keep the learner busy, judged by how long the last steps took. Pure."""

from __future__ import annotations

import math
from collections import deque

STEPS = 3  # how many must agree before the number changes
SLACK = 0.1  # workers: a tenth too few is no reason for one more


class Balance:
    """Finds the number of workers with which a step's responses take as long to write as to learn from.

    Args:
        min_workers, max_workers: the range that the recipe allows.
    """

    def __init__(self, min_workers: int, max_workers: int) -> None:
        self.min_workers = min_workers
        self.max_workers = max_workers
        self.wanted: deque[int] = deque(maxlen=STEPS)

    def workers(self, present: int, busy_s: float, learn_s: float) -> int:
        """How many workers there should be after a step.

        Args:
            present: how many there are.
            busy_s: seconds that workers spent on the step's responses, summed over the workers.
            learn_s: seconds that the learner spent on the step.
        """
        wanted = self.max_workers
        if learn_s > 0:
            wanted = math.ceil(min(busy_s / learn_s, self.max_workers) - SLACK)
        self.wanted.append(self._within_range(wanted))
        low = min(self.wanted)
        high = max(self.wanted)
        if len(self.wanted) < STEPS or low <= present <= high:
            return self._within_range(present)
        self.wanted.clear()  # times with another number of workers say little about the next
        return low if present < low else high

    def _within_range(self, workers: int) -> int:
        return min(self.max_workers, max(self.min_workers, workers))
