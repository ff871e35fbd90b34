"""Workers that run one own rule alone: with packages, CPUs or GPUs of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple

import ray

from rewards.calls.targets import LocalTarget
from rewards.config import OwnRule
from rewards.custom_rules import RuleInput, check_rule

AT_ONCE = 100  # calls that such a worker takes at once


class RuleTraits(NamedTuple):
    """What a caller must know of a rule that it cannot load itself."""

    batch_size: int
    concurrency: int


class RuleWorker:
    """An async Ray actor that holds a rule.

    Args:
        path: a folder that is searched for the rule's module, in addition to installed packages.
    """

    def __init__(self, name: str, own: OwnRule, path: str) -> None:
        self.name = name
        if path not in sys.path:
            sys.path.append(path)
        check_rule(own.model_copy(update={"runtime_env": None, "workers": own.own_workers}))
        self.target = LocalTarget(own)

    def __repr__(self) -> str:
        return f"rule-{self.name}"

    async def ready(self) -> RuleTraits:
        """Loads the rule; a model may take long."""
        await self.target.start()
        return RuleTraits(self.target.batch_size, self.target.concurrency)

    async def score(self, inputs: Sequence[RuleInput]) -> list[object]:
        """What the rule returns for each input."""
        return list(await self.target.score(inputs))


class RemoteTarget:
    """A rule in workers of its own, which take calls in turn."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self.actors = actors
        self.batch_size = 1
        self.concurrency = 1
        self._started = False
        self._turns = count()

    async def start(self) -> None:
        if self._started:
            return
        traits = [await actor.ready.remote() for actor in self.actors]
        self.batch_size = traits[0].batch_size
        self.concurrency = traits[0].concurrency * len(self.actors)
        self._started = True

    async def score(self, inputs: Sequence[RuleInput]) -> Sequence[object]:
        actor = self.actors[next(self._turns) % len(self.actors)]
        try:
            found: Sequence[object] = await actor.score.remote(list(inputs))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        return found

    def tokens(self, item: RuleInput) -> float:
        return 0.0
