"""What was asked of the rollout workers and is not trained yet, step by step."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.algorithm.config import GrpoTraining
from actors.runtime.remote import RemoteFailure
from actors.trajectory import Group, Request, sampling_seed
from cluster.config.recipe import GrpoStage, Recipe
from cluster.pools.rollout_pool import RolloutPool
from cluster.pools.shares import Batch, Failed
from cluster.record.ledger import Ledger
from curriculum.sampler import Sampler
from curriculum.task import Task


@dataclass(frozen=True)
class StepInFlight:
    """The groups of one step of a stage."""

    step: int
    requests: Sequence[Request]
    batch: Batch


class InFlight:
    """Asks for groups, some steps in advance where the recipe allows it, and hands them out in order of steps.

    No group is older than `max_staleness` steps then: step s + k is asked for when step s is about to be trained, at the
    earliest.
    """

    def __init__(self, recipe: Recipe, sampler: Sampler, rollouts: RolloutPool, ledger: Ledger) -> None:
        self.recipe, self.sampler, self.rollouts, self.ledger = recipe, sampler, rollouts, ledger
        self.waiting: deque[StepInFlight] = deque()

    def issue(self, stage: GrpoStage, step: int) -> None:
        """Asks for the groups of `step` and of those after it that may be written with the present weights."""
        training = stage.training
        last = min(step + training.max_staleness, stage.gate.max_steps - 1)
        for number in range(self.waiting[-1].step + 1 if self.waiting else step, last + 1):
            self.waiting.append(self._ask(number, self._requests(stage, number, training.tasks_per_step)))

    def take(self, training: GrpoTraining, version: int) -> list[Group]:
        """Waits for the groups of the next step; those that may not be trained are booked as dropped, with the reason.

        Args:
            version: the number of the weights that will be trained.

        Raises:
            RemoteFailure: too few groups are left for the learner's workers, or no rollout worker is.
        """
        flight = self.waiting.popleft()
        groups, why = self._arrived(flight, training, version)
        if len(groups) < (least := self.least(training)):
            raise RemoteFailure(
                f"{len(groups)} of {len(flight.requests)} groups are left, {least} are needed; the last was "
                f"dropped because: {why}"
            )
        return groups

    def more(self, stage: GrpoStage, step: int, first: int, count: int, version: int) -> list[Group]:
        """Asks for `count` further groups of a step, written by the present weights, and waits for them.

        Args:
            first: how many the step has had already, from which the new ones are numbered.
        """
        return self._arrived(self._ask(step, self._requests(stage, step, count, first)), stage.training, version)[0]

    def least(self, training: GrpoTraining) -> int:
        """So many groups a step must have: one for each of the learner's workers and updates."""
        return self.recipe.learner.workers * training.updates_per_step

    def ground(self, why: str) -> None:
        """Gives up what was asked for in advance, with the reason in the ledger."""
        for flight in self.waiting:
            for request in flight.requests:
                self.ledger.drop(request.group_id, why)
        self.forget()

    def forget(self) -> None:
        """Gives up what was asked for without a word: its lineage is dead."""
        self.waiting.clear()
        self.rollouts.forget()

    def state_dict(self) -> list[Any]:
        return [
            [flight.step, [[r.group_id, r.task.id, r.count, r.seed] for r in flight.requests]]
            for flight in self.waiting
        ]

    def load_state_dict(self, state: Sequence[Any], tasks: Mapping[str, Task]) -> None:
        """Asks anew for what was in flight, by the weights that the rollout workers have now."""
        for step, requests in state:
            asked = [Request(group, tasks[task], count, seed) for group, task, count, seed in requests]
            self.waiting.append(self._ask(step, asked))

    def _ask(self, step: int, requests: Sequence[Request]) -> StepInFlight:
        return StepInFlight(step, requests, self.rollouts.submit(requests, self.recipe.rollout.temperature))

    def _requests(self, stage: GrpoStage, step: int, count: int, first: int = 0) -> list[Request]:
        """Draws tasks and books a group of each as issued; it is number `first` and so on of its step."""
        requests = []
        for index, (task, pass_number) in enumerate(self.sampler.draw(stage.mixture, count), first):
            seed = sampling_seed(self.recipe.seed, task.id, pass_number)
            requests.append(Request(f"{stage.name}-{step}-{index}", task, stage.training.group_size, seed))
            self.ledger.issue(requests[-1], stage.name, step, pass_number)
        return requests

    def _arrived(self, flight: StepInFlight, training: GrpoTraining, version: int) -> tuple[list[Group], str]:
        """The groups that came and are not too old for weights `version`; and why the last of the others was dropped."""
        groups, why = [], ""
        oldest = version - training.max_staleness * training.updates_per_step
        for request, answer in zip(flight.requests, self.rollouts.gather(flight.batch), strict=True):
            if isinstance(answer, Failed):
                why = answer.why
            elif min((int(t.versions[0]) for t in answer.trajectories if len(t.versions)), default=oldest) < oldest:
                why = f"older than version {oldest}"
            else:
                groups.append(answer)
                continue
            self.ledger.drop(request.group_id, why)
        return groups, why
