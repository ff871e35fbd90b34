"""New weights on their way from the learner to every rollout worker."""

from __future__ import annotations

from functools import partial

from actors.weights.store import Version
from cluster.run.context import RunContext
from cluster.run.evaluation import test_tasks

PROBE_TASKS = 2  # a worker proves with as many that it holds a version


class Publisher:
    """Keeps the rollout workers at the learner's present weights.

    Attributes:
        direct_share: the share of the workers that the last version reached straight from the learner; None before
            one did.
    """

    def __init__(self, context: RunContext) -> None:
        self.recipe, self.workers = context.recipe, context.workers
        self.position, self.phases, self.display = context.position, context.phases, context.display
        test = test_tasks(context.recipe, context.tasks)
        self.probe = test[:: max(1, len(test) // PROBE_TASKS)][:PROBE_TASKS]
        self.published: Version | None = None
        self.direct_share: float | None = None

    def publish(self, wait: bool = True) -> None:
        """Brings the present weights to every rollout worker. Each proves that it holds them before it uses them.

        Without `wait` they do so while the run goes on, but none of them is more than one version behind.
        """
        version = self.position.weights
        if self.published == version:
            return
        wait = wait or self.published is None
        with self.phases.phase("publish"):
            if self.recipe.collective:
                self._publish_straight(version, wait)
            else:
                self._publish_by_store(version, wait)
        self.published = version

    def free_gpus(self) -> None:
        """If learner and rollout workers share GPUs, the workers sleep from here to the next version."""
        if self.recipe.rollout.sleep:
            with self.phases.phase("publish"):
                self.workers.rollouts.sleep()
            self.published = None

    def withdraw(self) -> None:
        """The version that was published last belongs to a dead lineage: no worker is brought to it any more."""
        self.published = None
        self.workers.rollouts.withdraw()

    def _publish_straight(self, version: Version, wait: bool) -> None:
        learner, pool = self.workers.learner, self.workers.rollouts.pool
        if not wait:
            pool.wait_until_current(partial(learner.finish, wait=False))
        pool.begin_version(version)  # the learner meets them at the store
        receivers = pool.receivers()
        sent = learner.publish(version, self.probe, receivers)
        self.direct_share = sent.reached / max(1, len(receivers))
        for line in sent.news:
            self.display.say(line)
        if wait:
            pool.wait_until_current(partial(learner.finish, wait=False))

    def _publish_by_store(self, version: Version, wait: bool) -> None:
        self.workers.learner.publish(version, self.probe)
        if wait:
            self.workers.rollouts.update(version)
        else:
            self.workers.rollouts.begin_update(version)
