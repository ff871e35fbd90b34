"""Draws the tasks of a step: deterministic, and independent of Ray and workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from curriculum.task import Task


class Sampler:
    """Goes through each family's tasks in random order, pass after pass; a step mixes families by their shares.

    Args:
        tasks: the train split.
        seed: the run's.
    """

    def __init__(self, tasks: Sequence[Task], seed: int) -> None:
        self.seed = seed
        self.families: dict[str, list[Task]] = defaultdict(list)
        for task in tasks:
            self.families[task.family].append(task)
        self.position = dict.fromkeys(self.families, 0)
        self._orders: dict[str, tuple[int, np.ndarray]] = {}

    def draw(self, mixture: Mapping[str, float], count: int) -> list[tuple[Task, int]]:
        """`count` tasks, each with the number of its pass (how often it was drawn before).

        Shares that are not whole numbers of tasks are rounded at random, so that they hold over many steps.

        Raises:
            ValueError: a family of the mixture has no task.
        """
        missing = [family for family in mixture if not self.families.get(family)]
        if missing:
            raise ValueError(f"no train task of family {missing[0]!r}; there are {sorted(self.families)}")
        rng = np.random.default_rng([self.seed, 7, sum(self.position.values())])
        exact = np.array(list(mixture.values())) / sum(mixture.values()) * count
        edges = np.floor(np.concatenate([[0.0], np.cumsum(exact)]) + rng.random())  # systematic rounding
        edges[0], edges[-1] = 0, count
        numbers = np.diff(edges).astype(int)
        drawn: list[tuple[Task, int]] = []
        for family, number in zip(mixture, numbers, strict=True):
            drawn += [self._next(family) for _ in range(number)]
        return [drawn[i] for i in rng.permutation(len(drawn))]

    def _next(self, family: str) -> tuple[Task, int]:
        tasks = self.families[family]
        pass_number, index = divmod(self.position[family], len(tasks))
        if self._orders.get(family, (-1,))[0] != pass_number:
            name = np.frombuffer(family.encode(), np.uint8).tolist()
            rng = np.random.default_rng([self.seed, pass_number, *name])
            self._orders[family] = pass_number, rng.permutation(len(tasks))
        self.position[family] += 1
        _, order = self._orders[family]
        return tasks[order[index]], pass_number

    def state_dict(self) -> dict[str, Any]:
        """How many tasks of each family were drawn."""
        return {"position": dict(self.position)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned. Raises ValueError if the state is of other families."""
        if set(state["position"]) != set(self.position):
            raise ValueError(
                f"the sampler state is of families {sorted(state['position'])}, "
                f"the task set has {sorted(self.position)}"
            )
        self.position = dict(state["position"])
