"""New weights on their way from the learner to every rollout worker."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from actors.weights.version import Version
from cluster.run.context import RunContext

PROBE_TASKS = 2  # by which a worker proves that it holds a version


class Publisher:
    """Keeps the rollout workers at the learner's present weights.

    Attributes:
        version_bytes: size of the last version; None before the first.
        direct_share: the share of the workers that the last version reached straight from the learner; None before
            one did.
    """

    def __init__(self, context: RunContext) -> None:
        self.recipe, self.workers = context.recipe, context.workers
        self.position, self.phases, self.display = context.position, context.phases, context.display
        self.direct = context.recipe.weight_transport.direct
        every = max(1, len(context.test_tasks) // PROBE_TASKS)
        self.probe = context.test_tasks[::every][:PROBE_TASKS]
        self.published: Version | None = None
        self.version_bytes: int | None = None
        self.direct_share: float | None = None

    def publish(self, wait: bool = True) -> None:
        """Brings the present weights to every rollout worker. Each proves that it holds them before it uses them.

        Without `wait` they do so while the run goes on, but none of them is more than one version behind.
        """
        version, rollouts = self.position.weights, self.workers.rollouts
        if self.published == version:
            return
        wait = wait or self.published is None
        # Notices if the learner dies while it brings the version to the store.
        check_learner = partial(self.workers.learner.finish, wait=False)
        with self.phases.phase("publish"):
            if not self.direct:
                self._send(version, {})
            rollouts.begin_update(version, after_previous=not wait, meanwhile=check_learner)
            if self.direct:
                self._send(version, rollouts.receivers())
            if wait:
                rollouts.wait_until_current(check_learner)
        self.published = version

    def free_gpus(self) -> None:
        """If learner and rollout workers take turns on GPUs, the workers sleep from here to the next version."""
        if self.recipe.rollout.sleep:
            with self.phases.phase("publish"):
                self.workers.rollouts.sleep()
            self.published = None

    def withdraw(self) -> None:
        """The version that was published last belongs to a dead lineage: no worker is brought to it any more."""
        self.published = None
        self.workers.rollouts.cancel_version()

    def _send(self, version: Version, receivers: Mapping[str, str]) -> None:
        sent = self.workers.learner.publish(version, self.probe, receivers)
        for line in sent.events:
            self.display.say(line)
        self.version_bytes = sent.bytes
        if self.direct:
            self.direct_share = sent.reached / max(1, len(receivers))
