"""Draws the tasks of a step: deterministic, and independent of Ray and workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from curriculum.sampling.choice import CANDIDATES, Adaptive, choose
from curriculum.sampling.expectations import Expectations
from curriculum.sampling.likeness import COLUMNS, Likeness, findings_of
from curriculum.sampling.tally import Tally
from curriculum.sets.task_table import TaskTable
from curriculum.task import Task


@dataclass(frozen=True)
class Mixing:
    """How much is drawn from each source.

    Attributes:
        weights: source to its weight.
        size_power: a source's share of a step is in proportion to weight × tasks ^ size_power, as in multilingual
            training (XLM-R, arXiv 1911.02116, section 3.1): 1 draws as from one set, 0 by the weights alone.
    """

    weights: Mapping[str, float]
    size_power: float = 1.0


class Outcome(NamedTuple):
    """What became of a group.

    Attributes:
        outcomes: of its responses, in [0, 1].
        flat: whether all of them earned the same.
    """

    task: Task
    outcomes: Sequence[float]
    flat: bool


class Sampler:
    """Goes through the tasks of each pool in random order, pass after pass; a step mixes pools by their shares.

    A pool holds the tasks of a family in a source. It is called "source/family", or by its family alone where the run
    has one set.

    With adaptive sampling a draw takes the next few tasks of a pool's order, and keeps the one that is expected to
    teach most; the others come again in the next pass.

    Args:
        tasks: the train split.
        seed: the run's.
        mixing: of the sources; sets without names weigh the same.
    """

    def __init__(self, tasks: TaskTable, seed: int, mixing: Mixing | None = None) -> None:
        self.tasks = tasks
        self.seed = seed
        self.mixing = mixing or Mixing({part.source: 1.0 for part in tasks.parts})
        self.pools: dict[str, np.ndarray] = {}  # positions in `tasks`
        for family, positions in tasks.families.items():
            sources = tasks.sources[positions]
            for number, part in enumerate(tasks.parts):
                if (sources == number).any():
                    self.pools[_pool(part.source, family)] = positions[sources == number]
        self.position = dict.fromkeys(self.pools, 0)
        self.expectations = Expectations()
        self.tally = Tally()
        self._orders: dict[str, tuple[int, np.ndarray]] = {}

    def draw(
        self,
        mixture: Mapping[str, float],
        count: int,
        sources: Collection[str] = (),
        adaptive: Adaptive | None = None,
    ) -> list[tuple[Task, int]]:
        """`count` tasks, each with the number of its pass (how often it was drawn before).

        Shares that are not whole numbers of tasks are rounded at random, so that they hold over many steps.

        Args:
            mixture: family to its share. In a source that lacks some of the families the others share alike more.
            count: how many.
            sources: from which to draw; all if empty.
            adaptive: draw by what tasks are expected to teach; None: in the order of the pass.

        Raises:
            ValueError: a family of the mixture has no task.
        """
        drawn = self._draw(mixture, count, sources, adaptive, tally=True)
        return [(self.tasks[position], pass_number) for position, pass_number in drawn]

    def peek(
        self,
        mixture: Mapping[str, float],
        count: int,
        sources: Collection[str] = (),
        adaptive: Adaptive | None = None,
    ) -> list[Task]:
        """The tasks that `draw` would draw now. They are not drawn."""
        position = dict(self.position)
        try:
            return [self.tasks[place] for place, _ in self._draw(mixture, count, sources, adaptive, tally=False)]
        finally:
            self.position = position

    def observe(self, groups: Sequence[Outcome], version: int, adaptive: Adaptive) -> float:
        """Learns from the groups of a step, in the order given: only this changes what is expected of tasks.

        Args:
            version: of the weights that the groups train.

        Returns:
            The mean of what their tasks were expected to teach until now (`Expected.signal`).
        """
        likenesses = [self._likeness_of(group.task) for group in groups]
        signals = [self.expectations.of(likeness).signal(adaptive.group_size) for likeness in likenesses]
        for group, likeness in zip(groups, likenesses, strict=True):
            self.expectations.observe(likeness, group.outcomes, version)
            self.tally.group(adaptive.stage, likeness, group.flat, self.expectations)
        return float(np.mean(signals)) if signals else 0.0

    def _draw(
        self,
        mixture: Mapping[str, float],
        count: int,
        sources: Collection[str],
        adaptive: Adaptive | None,
        tally: bool,
    ) -> list[tuple[int, int]]:
        """Positions of tasks and the numbers of their passes."""
        shares = self._shares(mixture, sources)
        rng = np.random.default_rng([self.seed, 7, sum(self.position.values())])
        exact = np.array(list(shares.values())) / sum(shares.values()) * count
        edges = np.floor(np.concatenate([[0.0], np.cumsum(exact)]) + rng.random())  # systematic rounding
        edges[0], edges[-1] = 0, count
        numbers = np.diff(edges).astype(int)
        drawn: list[tuple[int, int]] = []
        for pool, number in zip(shares, numbers, strict=True):
            drawn += [self._choose(pool, adaptive, tally) if adaptive else self._next(pool) for _ in range(number)]
        return [drawn[i] for i in rng.permutation(len(drawn))]

    def _shares(self, mixture: Mapping[str, float], sources: Collection[str]) -> dict[str, float]:
        """Pool to its share."""
        shares: dict[str, float] = {}
        drawn: set[str] = set()
        weights = {source: self._weight(source, mixture) for source in sources or self.mixing.weights}
        total = sum(weights.values()) or 1.0
        for source, weight in weights.items():
            families = {family: share for family, share in mixture.items() if _pool(source, family) in self.pools}
            whole = len(families) == len(mixture)
            scale = weight / total / (1.0 if whole else sum(families.values()) or 1.0)
            for family, share in families.items():
                shares[_pool(source, family)] = scale * share
                drawn.add(family)
        missing = [family for family in mixture if family not in drawn]
        if missing:
            where = f" in {', '.join(sources)}" if sources else ""
            raise ValueError(f"no train task of family {missing[0]!r}{where}; there are {sorted(self.tasks.families)}")
        return shares

    def _weight(self, source: str, mixture: Mapping[str, float]) -> float:
        pools = [_pool(source, family) for family, share in mixture.items() if share]
        size = sum(len(self.pools.get(pool, ())) for pool in pools)
        return self.mixing.weights[source] * size**self.mixing.size_power if size else 0.0

    def _choose(self, pool: str, adaptive: Adaptive, tally: bool) -> tuple[int, int]:
        """One of the next tasks of a pool, by what each is expected to teach."""
        rng = np.random.default_rng([self.seed, 8, sum(self.position.values())])
        candidates = [self._next(pool) for _ in range(min(CANDIDATES, len(self.pools[pool])))]
        likenesses = [self._likeness(pool, position) for position, _ in candidates]
        chosen = choose(likenesses, self.expectations, adaptive.group_size, rng)
        if tally:
            self.tally.choice(adaptive.stage, likenesses, chosen)
        return candidates[chosen]

    def _likeness(self, pool: str, position: int) -> Likeness:
        """What a task is like, which is not built: of a few tasks only one is drawn."""
        row = self.tasks.row(position, *COLUMNS)
        findings = findings_of(row["form"], row["question"], row["options"], row["gold"])
        return Likeness(row["id"], row["form"], row["family"], pool, findings)

    def _likeness_of(self, task: Task) -> Likeness:
        named = any(part.source for part in self.tasks.parts)
        pool = _pool(task.source if named else "", task.family)
        return Likeness(
            task.id, task.form, task.family, pool, findings_of(task.form, task.question, task.options, task.gold)
        )

    def _next(self, pool: str) -> tuple[int, int]:
        """The position of a pool's next task, and the number of its pass."""
        positions = self.pools[pool]
        pass_number, index = divmod(self.position[pool], len(positions))
        if self._orders.get(pool, (-1,))[0] != pass_number:
            name = np.frombuffer(pool.encode(), np.uint8).tolist()
            rng = np.random.default_rng([self.seed, pass_number, *name])
            self._orders[pool] = pass_number, rng.permutation(len(positions))
        self.position[pool] += 1
        _, order = self._orders[pool]
        return int(positions[order[index]]), pass_number

    def state_dict(self) -> dict[str, Any]:
        """How far each pool's order is, what is expected of tasks, and what was drawn."""
        return {
            "position": dict(self.position),
            "expectations": self.expectations.state_dict(),
            "tally": self.tally.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned. Raises ValueError if the state is of other families or sources."""
        if set(state["position"]) != set(self.position):
            raise ValueError(
                f"the sampler state is of families {sorted(state['position'])}, "
                f"the task set has {sorted(self.position)}"
            )
        self.position = dict(state["position"])
        self.expectations, self.tally = Expectations(), Tally()
        if "expectations" in state:  # an older release wrote none
            self.expectations.load_state_dict(state["expectations"])
            self.tally.load_state_dict(state["tally"])


def _pool(source: str, family: str) -> str:
    return f"{source}/{family}" if source else family
