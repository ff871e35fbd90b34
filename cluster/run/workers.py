"""The workers of a run: weight store, learner, rollout and reward pools. They start together and end together."""

from __future__ import annotations

from pathlib import Path

import ray

from actors.learner.handle import Learner
from actors.learner.setup import LearnerSetup, RankSetup
from actors.weights.store import WeightStore
from cluster.config.recipe import Recipe
from cluster.control.ray_connection import has_learner_resource, near_driver
from cluster.measures.strata import train_shares
from cluster.planning.adapter_way import adapters_alone
from cluster.pools.reward_pool import RewardPool
from cluster.pools.rollout_pool import RolloutPool
from cluster.pools.shares import WorkSpan
from cluster.pools.work_pool import WorkPool
from cluster.record.checkpoint import run_storage
from cluster.run.prepare import Prepared
from cluster.signals import is_ending


class Workers:
    """A context, inside which the workers are up.

    Pools have no threads of their own: whoever waits for one worker calls `pump`, so that the others go on meanwhile.
    """

    def __init__(self, recipe: Recipe, run: Path, prepared: Prepared) -> None:
        name, model = run.name, prepared.model
        images = max(int(tasks.lengths("images").max(initial=0)) for tasks in prepared.tasks.values())
        rules = recipe.reward.rules.weighted_by(train_shares(prepared.tasks["train"]))
        self.store = (
            ray.remote(WeightStore)
            .options(name=f"{name}/weight-store", num_cpus=0, max_concurrency=100, scheduling_strategy=near_driver())
            .remote()
        )
        transport = recipe.weight_transport
        alone = adapters_alone(recipe)
        # All start at once. The learner comes first: Ray Train starts several processes before its ranks.
        ranks = RankSetup(
            recipe.learner,
            recipe.prompt_config,
            str(model),
            self.store,
            recipe.seed,
            transport,
            recipe.takes_turns,
            alone,
        )
        reserved = has_learner_resource()
        setup = LearnerSetup(name, ranks, run_storage(recipe, run), reserved, near_driver())
        self.learner = Learner(setup, self.pump)
        self.takes_turns = recipe.takes_turns
        self.shares_gpus = recipe.shares_gpus
        # Ray then has only the rest of each rank's GPU for an engine, or only nodes that are not the learner's: engines
        # would take those as readily as others, and leave the ranks no room.
        if self.shares_gpus or reserved:
            try:
                self.learner.wait_until_placed()
            except BaseException:
                self.learner.stop()
                raise
        lora = recipe.learner.lora if alone else None
        self.rollouts = RolloutPool(
            name, recipe.rollout, model, recipe.prompt_config, self.store, images, transport, lora
        )
        self.rewards = RewardPool(
            name,
            recipe.reward.model_copy(update={"rules": rules}),
            meanwhile=lambda: self.rollouts.pool.pump(0),
            cache=run / "rule_values",
        )

    def __enter__(self) -> Workers:
        try:
            if self.shares_gpus:
                self._start_on_shared_gpus()
            else:
                self.learner.ready()
                self.rollouts.ready()
        except BaseException:
            self.stop()
            raise
        return self

    def _start_on_shared_gpus(self) -> None:
        """Engines come up, and sleep, before the ranks load the model: vLLM measures what a GPU has free, and fails if
        others take memory meanwhile.
        """
        self.rollouts.ready()
        if self.takes_turns:
            self.rollouts.sleep()
        self.learner.ready()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pools(self) -> tuple[WorkPool, WorkPool]:
        return self.rollouts.pool, self.rewards.pool

    def pump(self) -> None:
        """Keeps the pools at work while the learner learns. On GPUs that both use in turn no engine may start then."""
        if not self.takes_turns:
            self.rollouts.pool.pump(0)
        self.rewards.pump()

    @property
    def rollout_size(self) -> int:
        """How many rollout workers there should be."""
        return self.rollouts.pool.size

    def rollout_use(self) -> tuple[float, float, int]:
        """Over all rollout workers so far: seconds spent on requests, seconds for which they could have, and tokens of
        the responses.
        """
        return self.rollouts.pool.busy_s, self.rollouts.pool.present_s, self.rollouts.tokens

    def scale(self, rollout: int | None = None, reward: int | None = None) -> None:
        """Sets the number of workers; None leaves a pool as it is. Surplus workers finish their share first."""
        for pool, size in zip(self.pools, (rollout, reward), strict=True):
            if size is not None:
                pool.scale(size)

    def states(self) -> dict[str, dict[str, int]]:
        """How many workers of each kind are in which state."""
        return {pool.kind: pool.states() for pool in self.pools}

    def events(self) -> list[str]:
        """What went wrong in the pools since the last call, in words."""
        return [event for pool in self.pools for event in pool.take_events()]

    def spans(self) -> dict[str, list[WorkSpan]]:
        """Who had what when since the last call, by the kind of worker."""
        return {pool.kind: pool.take_spans() for pool in self.pools}

    def stop(self) -> None:
        if is_ending():
            return
        self.learner.stop()
        self.rollouts.stop()
        self.rewards.stop()
        ray.kill(self.store)
