"""Everything that works for a run: weight store, learner, rollout and reward pools; started together, ended together."""

from __future__ import annotations

from pathlib import Path

import ray

from actors.learner import Learner
from actors.weights import WeightStore

from .pools import RewardPool, RolloutPool
from .ray_cluster import has_learner_resource
from .recipe import Recipe


class Workers:
    """A context: inside it the workers stand and answer.

    Args:
        images: most images that a task has.
    """

    def __init__(self, recipe: Recipe, run: Path, model: Path, images: int) -> None:
        name = run.name
        self.store = ray.remote(WeightStore).options(name=f"{name}/weight-store", num_cpus=0, max_concurrency=100).remote()
        # All start at once; importing vLLM and DeepSpeed takes longest.
        self.rollouts = RolloutPool(name, recipe.rollout, model, recipe.prompt, self.store, images)
        self.rewards = RewardPool(name, recipe.reward)
        self.learner = Learner(recipe.learner, name, recipe.prompt, model, self.store, run / "learner", recipe.seed,
                               has_learner_resource())

    def __enter__(self) -> "Workers":
        try:
            self.learner.ready()
            self.rollouts.ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.learner.stop()
        self.rollouts.stop()
        self.rewards.stop()
        ray.kill(self.store)
