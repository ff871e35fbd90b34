"""How many rollout workers keep the learner busy, by what the last steps took. Pure."""

from __future__ import annotations

import math
from collections import deque

STEPS = 3  # that must agree before the number changes


class Balance:
    """Follows the balance between learner and rollouts: so many workers that a step's responses take as long as its learning.

    Args:
        least, most: the range of the recipe.
    """

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most
        self.wanted: deque[int] = deque(maxlen=STEPS)

    def workers(self, now: int, busy_s: float, learn_s: float) -> int:
        """How many workers there should be after a step.

        Args:
            now: how many there are.
            busy_s: seconds that workers spent on the step's responses, summed over them.
            learn_s: seconds that the learner spent on the step.
        """
        # A tenth too few is no reason for one more.
        wanted = math.ceil(min(busy_s / learn_s, self.most) - 0.1) if learn_s > 0 else self.most
        self.wanted.append(min(self.most, max(self.least, wanted)))
        if len(self.wanted) < STEPS or min(self.wanted) <= now <= max(self.wanted):
            return min(self.most, max(self.least, now))
        nearest = min(self.wanted) if now < min(self.wanted) else max(self.wanted)
        self.wanted.clear()  # what they took with another number says little of the next
        return nearest
