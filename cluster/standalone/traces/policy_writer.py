"""Lets the model itself write traces: of several sampled responses to a task, those that the verifier accepts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar
from uuid import uuid4

from actors.trajectory import Group, Request, sampling_seed
from cluster.control.ray_connection import check_fits, ray_cluster
from cluster.pools.rollout_pool import RolloutPool
from cluster.pools.shares import Failed
from cluster.run.prepare import check_images
from cluster.standalone.evaluate import Subject, find_subject
from curriculum.task import Task
from rewards.traces.writer import Ask, Draft

if TYPE_CHECKING:
    from cluster.standalone.traces.writers import WriterChoice

CUT_OFF = "every response was cut off at the length limit"


class PolicyWriter:
    """The writer `policy`. It sees what the model will see in training: films and question, never the report.

    Args:
        subject: the model and how it is asked.
        rollouts: its workers.
        choice: samples, temperature, seed and attempts.
    """

    name: ClassVar[str] = "policy"
    runs_anywhere: ClassVar[bool] = False

    def __init__(self, subject: Subject, rollouts: RolloutPool, choice: WriterChoice) -> None:
        self.rollouts, self.attempts = rollouts, choice.attempts
        self.seed, self.samples, self.temperature = choice.seed, choice.samples, choice.temperature
        self.settings: dict[str, object] = {
            "model": str(subject.folder),
            "prompt": subject.prompt.system,
            "samples": choice.samples,
            "temperature": choice.temperature,
            "seed": choice.seed,
        }
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Asks nothing more. Any thread may call it."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def write(self, asks: Sequence[Ask]) -> Iterator[Draft]:
        """One draft for each ask, part by part: a part is twice what the engines hold at once."""
        config = self.rollouts.config
        part = max(1, 2 * config.max_sequences * config.workers // self.samples)
        for start in range(0, len(asks), part):
            if self._stopping.is_set():
                return
            some = asks[start : start + part]
            requests = [
                Request(f"trace-{start + number}", task, self.samples, sampling_seed(self.seed, task.id, attempt))
                for number, (task, attempt) in enumerate(some)
            ]
            for ask, group in zip(some, self.rollouts.generate(requests, self.temperature), strict=True):
                yield _draft(ask, group)


def _draft(ask: Ask, group: Group | Failed) -> Draft:
    if isinstance(group, Failed):
        return Draft(ask.task.id, ask.attempt, (), group.why, is_answered=False)
    texts = tuple(trajectory.text for trajectory in group.trajectories if not trajectory.truncated)
    return Draft(ask.task.id, ask.attempt, texts, "" if texts else CUT_OFF)


@contextmanager
def open_policy(choice: WriterChoice, tasks: Sequence[Task], log: Callable[[str], None]) -> Iterator[PolicyWriter]:
    """Starts the model's workers.

    Raises:
        UserError: the model or a film cannot be used, or the workers do not fit into the cluster.
        RemoteFailure: a worker failed or did not answer.
    """
    assert choice.model is not None
    subject = find_subject(choice.model, choice.recipe)
    roles = {"rollout": subject.rollout}
    images = max((len(task.images) for task in tasks), default=0)
    check_images(subject.folder, "--model", images > 0, subject.rollout)
    log(f"{subject.name}: {subject.settings}; starting {subject.rollout.workers} rollout workers")
    with ray_cluster(roles, log):
        check_fits(roles)
        name = f"traces-{uuid4().hex[:8]}"
        rollouts = RolloutPool(name, subject.rollout, subject.folder, subject.prompt, None, images)
        try:
            rollouts.ready()
            yield PolicyWriter(subject, rollouts, choice)
        finally:
            rollouts.stop()
