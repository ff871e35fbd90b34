"""Groups that were requested from the rollout workers and are not trained yet, step by step."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.runtime.remote import RemoteFailure
from actors.trajectory import Group, Request, ScoredGroup, sampling_seed
from cluster.pools.shares import Batch, Failed
from cluster.run.context import RunContext
from cluster.stages import StageKind
from cluster.stages.dynamic_sampling import Replacing, groups_to_request
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

    def take(self, stage: StageKind, version: int, replacing: Replacing | None = None) -> list[Group]:
        """Waits for the groups of the next step. The ledger drops those that may not be trained, with the reason.

        Args:
            version: the number of the weights that will be trained.
            replacing: which groups are replaced, by others that are generated with the present weights; none if None.

        Returns:
            The groups, in the order of draws.

        Raises:
            RemoteFailure: too few groups are left for the learner's workers, or no rollout worker is.
        """
        parts = [self.waiting.popleft()]
        if replacing:
            self._replace(parts, stage, version, replacing)
        groups, why = [], ""
        for part in parts:
            arrived, why_dropped = self._arrived(part, stage, version)
            groups += arrived
            why = why_dropped or why
        minimum = self.min_groups(stage)
        if len(groups) < minimum:
            asked = sum(len(part.requests) for part in parts)
            raise RemoteFailure(
                f"{len(groups)} of {asked} groups are left, {minimum} are needed; the last was dropped because: {why}"
            )
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
        drawn = self.sampler.draw(stage.mixture, count, stage.sources, stage.adaptive)
        for index, (task, pass_number) in enumerate(drawn, first):
            seed = sampling_seed(self.recipe.seed, task.id, pass_number)
            request = Request(f"{stage.name}-{step}-{index}", task, stage.group_size, seed)
            self.ledger.issue(request, stage.name, step, pass_number)
            requests.append(request)
        return requests

    def _replace(self, parts: list[StepInFlight], stage: StageKind, version: int, replacing: Replacing) -> None:
        """Asks for replacements as soon as it is certain that they are needed, until none is. Adds them to `parts`.

        Tasks are drawn one at a time, so that it makes no difference how many replacements are asked for at once.
        """
        step, first = parts[0].step, len(parts[0].requests)
        oldest = self._oldest(stage, version)
        known: dict[str, bool] = {}  # group to whether it is lost
        while True:
            order: list[str] = []
            for part in parts:
                for request, answer in zip(part.requests, part.batch.results, strict=True):
                    order.append(request.group_id)
                    if request.group_id not in known:
                        lost = self._lost(answer, oldest, replacing)
                        if lost is not None:
                            known[request.group_id] = lost
            wanted = groups_to_request([known.get(group, False) for group in order], first, replacing.rounds)
            if wanted > len(order):
                requests = [self._requests(stage, step, 1, index)[0] for index in range(len(order), wanted)]
                parts.append(self._submit(step, requests))
            elif len(known) == len(order):
                return
            else:
                self.rollouts.pump(self.rewards.pump)

    def _lost(self, answer: Group | Failed | None, oldest: int, replacing: Replacing) -> bool | None:
        """Whether a group did not come, is too old or is flat; None if that is not known yet."""
        if answer is None:
            return None
        if isinstance(answer, Failed) or _first_version(answer, oldest) < oldest:
            return True
        verdicts = self.rewards.known(answer)
        return None if verdicts is None else replacing.is_flat(ScoredGroup(answer, verdicts))

    def _arrived(self, step: StepInFlight, stage: StageKind, version: int) -> tuple[list[Group], str]:
        """The groups that came and are new enough for weights `version`, and why the last of the others was dropped."""
        groups, why = [], ""
        oldest = self._oldest(stage, version)
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

    @staticmethod
    def _oldest(stage: StageKind, version: int) -> int:
        """The oldest version whose tokens weights `version` may be trained on."""
        return version - stage.max_staleness * stage.updates_per_step


def _first_version(group: Group, default: int) -> int:
    """The oldest version that began one of the group's responses; `default` if all are empty."""
    return min((int(t.versions[0]) for t in group.trajectories if len(t.versions)), default=default)
