"""What the steps of a stage do through the run: draw, generate, score, learn, book (`StepRun`)."""

from __future__ import annotations

from collections.abc import Sequence

from actors.learner.orders import StartStage, UpdateOrder, UpdateResult
from actors.trajectory import Group, ScoredGroup
from cluster.run.context import RunContext
from cluster.run.in_flight import InFlight
from cluster.run.publishing import Publisher
from cluster.stages import StageKind
from cluster.stages.dynamic_sampling import Replacing
from curriculum.sampler import Outcome
from curriculum.task import Task
from rewards.batch_gate import BatchGate
from rewards.verdict import NOT_SCORED


class Steps:
    """The run, as a stage kind sees it.

    Attributes:
        gate: the batch gate of the present stage.
        lr_factor: on every learning rate; roll-backs by guards lower it.
    """

    def __init__(self, context: RunContext, in_flight: InFlight, publisher: Publisher) -> None:
        self.recipe, self.workers, self.writer = context.recipe, context.workers, context.writer
        self.position, self.curriculum, self.sampler = context.position, context.curriculum, context.sampler
        self.ledger, self.phases = context.ledger, context.phases
        self.in_flight, self.publisher = in_flight, publisher
        self.gate = BatchGate()
        self.lr_factor = 1.0

    def open(self, stage: StageKind) -> None:
        """Prepares gate and learner for a stage."""
        self.gate = BatchGate()  # a stage's outcomes are not those of the one before
        order = StartStage(
            fresh_optimiser=self.position.step > 0 and not stage.keeps_optimiser,
            reference=stage.needs_reference,
            keep_reference=stage.keeps_reference,
            models=stage.folder_models,
        )
        self.publisher.free_gpus()
        self.workers.learner.call(order)

    def close(self) -> None:
        """Drops what was requested ahead for a stage that ended."""
        self.in_flight.drop_all("the stage ended")

    @property
    def stage(self) -> StageKind:
        return self.curriculum.stage

    @property
    def stage_step(self) -> int:
        return self.curriculum.record.steps

    @property
    def version(self) -> int:
        return self.position.version

    @property
    def max_response_tokens(self) -> int:
        return self.recipe.rollout.max_response_tokens

    @property
    def temperature(self) -> float:
        return self.recipe.rollout.temperature

    @property
    def lr(self) -> float:
        return self.lr_factor * self.stage.training.rate(self.stage_step)

    def draw(self, count: int) -> list[Task]:
        stage = self.stage
        return [task for task, _ in self.sampler.draw(stage.mixture, count, stage.sources, stage.adaptive)]

    def generate(self, replacing: Replacing | None = None) -> list[Group]:
        self.publisher.publish(wait=not self.stage.max_staleness)
        self.in_flight.issue(self.stage, self.stage_step)
        with self.phases.phase("generate"):
            return self.in_flight.take(self.stage, self.version, replacing)

    @property
    def min_groups(self) -> int:
        return self.in_flight.min_groups(self.stage)

    def score(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        with self.phases.phase("score"):
            verdicts = self.workers.rewards.take(groups)
        return [ScoredGroup(group, scores) for group, scores in zip(groups, verdicts, strict=True)]

    def through_batch_gate(self, groups: Sequence[ScoredGroup]) -> tuple[list[ScoredGroup], dict[str, float]]:
        if not self.recipe.reward.rules.batch_gate:
            return list(groups), {}
        verdicts, is_open = self.gate.apply([scored.verdicts for scored in groups])
        gated = [ScoredGroup(scored.group, scores) for scored, scores in zip(groups, verdicts, strict=True)]
        return gated, {"batch_gate": float(is_open)}

    def observe(self, groups: Sequence[ScoredGroup]) -> dict[str, float]:
        adaptive = self.stage.adaptive
        if not adaptive:
            return {}
        outcomes = []
        for scored in groups:
            judged = [verdict for verdict in scored.verdicts if NOT_SCORED not in verdict.faults]
            if judged:  # that a rule failed says nothing about the task
                flat = len({verdict.total for verdict in judged}) == 1
                outcomes.append(Outcome(scored.group.task, [verdict.outcome for verdict in judged], flat))
        return {"expected_signal": self.sampler.observe(outcomes, self.version, adaptive)}

    def learn(self, order: UpdateOrder) -> UpdateResult:
        self.publisher.free_gpus()
        with self.phases.phase("learn"):
            result = self.workers.learner.update(order, self._next_films())
        self.position.version += self.stage.updates_per_step
        return result

    def _next_films(self) -> list[str]:
        """Those of the next step, if the stage goes on."""
        stage = self.stage
        tasks = self.in_flight.next_tasks()
        tasks = tasks or self.sampler.peek(stage.mixture, stage.tasks_per_step, stage.sources, stage.adaptive)
        return [image for task in tasks for image in task.images]

    def book(self, trained: Sequence[ScoredGroup], dropped: Sequence[ScoredGroup], why: str = "no variance") -> None:
        for scored in trained:
            self.ledger.train(scored.group.group_id, self.version)
        for scored in dropped:
            self.ledger.drop(scored.group.group_id, why)
        self.writer.add_trajectories(self.position.step, self.stage.name, trained, self.recipe.log_trajectories)
