"""Groups that were requested from the rollout workers and are not trained yet, step by step."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.runtime.remote import RemoteFailure
from actors.trajectory import Group, Request, sampling_seed
from cluster.pools.shares import Batch, Failed
from cluster.run.context import RunContext
from cluster.stages import StageKind
from curriculum.sets.task_table import TaskTable
from curriculum.task import Task


@dataclass(frozen=True)
class StepInFlight:
    """The groups of one step of a stage."""

    step: int
    requests: Sequence[Request]
    batch: Batch


class InFlight:
    """Requests groups, some steps ahead if the stage allows it, and hands them out in order of steps.

    Each goes to the reward workers as soon as it arrives.

    No group is older than `max_staleness` steps: step s + k is requested when step s is about to be trained, at the
    earliest.
    """

    def __init__(self, context: RunContext) -> None:
        self.recipe, self.sampler, self.ledger = context.recipe, context.sampler, context.ledger
        self.rollouts, self.rewards = context.workers.rollouts, context.workers.rewards
        self.waiting: deque[StepInFlight] = deque()

    def issue(self, stage: StageKind, step: int) -> None:
        """Requests the groups of `step`, and of the steps after it that may be generated with the present weights."""
        last = min(step + stage.max_staleness, stage.gate.max_steps - 1)
        first = self.waiting[-1].step + 1 if self.waiting else step
        for number in range(first, last + 1):
            self.waiting.append(self._submit(number, self._requests(stage, number, stage.tasks_per_step)))

    def next_tasks(self) -> Sequence[Task]:
        """The tasks of the next step to be taken; none if it is not requested yet."""
        return [request.task for request in self.waiting[0].requests] if self.waiting else ()

    def take(self, stage: StageKind, version: int) -> list[Group]:
        """Waits for the groups of the next step. The ledger drops those that may not be trained, with the reason.

        Args:
            version: the number of the weights that will be trained.

        Raises:
            RemoteFailure: too few groups are left for the learner's workers, or no rollout worker is.
        """
        next_step = self.waiting.popleft()
        groups, why = self._arrived(next_step, stage, version)
        minimum = self.min_groups(stage)
        if len(groups) < minimum:
            raise RemoteFailure(
                f"{len(groups)} of {len(next_step.requests)} groups are left, {minimum} are needed; the last was "
                f"dropped because: {why}"
            )
        return groups

    def more(self, stage: StageKind, step: int, first: int, count: int, version: int) -> list[Group]:
        """Requests `count` further groups of a step, generated with the present weights, and waits for them.

        Args:
            first: how many groups the step has requested already; the new ones are numbered from there.
        """
        extra = self._submit(step, self._requests(stage, step, count, first))
        groups, _ = self._arrived(extra, stage, version)
        return groups

    def min_groups(self, stage: StageKind) -> int:
        """The fewest groups that a step can train: one for each of the learner's workers and updates."""
        return self.recipe.learner.workers * stage.updates_per_step

    def drop_all(self, why: str) -> None:
        """Gives up everything that was requested ahead, with the reason in the ledger."""
        for step in self.waiting:
            for request in step.requests:
                self.ledger.drop(request.group_id, why)
        self.discard()

    def discard(self) -> None:
        """Gives up everything that was requested ahead, without an entry in the ledger: its lineage is dead."""
        self.waiting.clear()
        self.rollouts.discard_all()
        self.rewards.discard_all()

    def state_dict(self) -> list[Any]:
        return [[step.step, [[r.group_id, r.task.id, r.count, r.seed] for r in step.requests]] for step in self.waiting]

    def load_state_dict(self, state: Sequence[Any], tasks: TaskTable) -> None:
        """Requests again what was in flight, by the weights that the rollout workers have now."""
        found = tasks.find({task for _, rows in state for _, task, _, _ in rows})
        for step, rows in state:
            requests = [Request(group, found[task], count, seed) for group, task, count, seed in rows]
            self.waiting.append(self._submit(step, requests))

    def _submit(self, step: int, requests: Sequence[Request]) -> StepInFlight:
        batch = self.rollouts.submit(requests, self.recipe.rollout.temperature, self.rewards.add)
        return StepInFlight(step, requests, batch)

    def _requests(self, stage: StageKind, step: int, count: int, first: int = 0) -> list[Request]:
        """Draws tasks, and books a group of each as issued, numbered from `first` in its step."""
        requests = []
        for index, (task, pass_number) in enumerate(self.sampler.draw(stage.mixture, count, stage.sources), first):
            seed = sampling_seed(self.recipe.seed, task.id, pass_number)
            request = Request(f"{stage.name}-{step}-{index}", task, stage.group_size, seed)
            self.ledger.issue(request, stage.name, step, pass_number)
            requests.append(request)
        return requests

    def _arrived(self, step: StepInFlight, stage: StageKind, version: int) -> tuple[list[Group], str]:
        """The groups that came and are new enough for weights `version`, and why the last of the others was dropped."""
        groups, why = [], ""
        oldest = version - stage.max_staleness * stage.updates_per_step
        answers = self.rollouts.gather(step.batch, meanwhile=self.rewards.pump)
        for request, answer in zip(step.requests, answers, strict=True):
            if isinstance(answer, Failed):
                why = answer.why
            elif _first_version(answer, oldest) < oldest:
                why = f"older than version {oldest}"
            else:
                groups.append(answer)
                continue
            self.ledger.drop(request.group_id, why)
            self.rewards.drop(request.group_id)
        return groups, why


def _first_version(group: Group, default: int) -> int:
    """The oldest version that began one of the group's responses; `default` if all are empty."""
    return min((int(t.versions[0]) for t in group.trajectories if len(t.versions)), default=default)
