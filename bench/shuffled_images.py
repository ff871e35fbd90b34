"""Control: does a trained model look at the film? Answers the test tasks with their own images, and with others'.

    python -m bench.shuffled_images runs/quickstart

A model that reads the question alone scores the same on both; one that sees falls to chance on the second.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import ray
import torch

from actors.encode import Encoder
from actors.policy import Policy, Sample
from actors.environment import quiet_libraries
from actors.waiting import wait_for
from actors.weights import WeightStore, pack
from cluster.evaluation import answer, held_out
from cluster.measures import Scores
from cluster.pools import RewardPool, RolloutPool
from cluster.prepare import prepare
from cluster.ray_cluster import ray_cluster
from cluster.recipe import load_recipe


def main(run: Path) -> dict[str, dict[str, tuple[float, float, float]]]:
    recipe = load_recipe(run / "recipe.yaml")
    with ray_cluster(recipe):
        tasks = held_out(prepare(recipe, run).tasks["test"], recipe.asked, recipe.evaluation.test_per_family)
        films = sorted({task.images for task in tasks})
        order = np.random.default_rng(0).permutation(len(films))
        other = {films[i]: films[j] for i, j in zip(order, np.roll(order, 1), strict=True)}  # nobody keeps its own
        shuffled = [task.model_copy(update={"images": other[task.images]}) for task in tasks]
        store = ray.remote(WeightStore).options(num_cpus=0).remote()
        rollouts = RolloutPool(f"{run.name}-shuffled", recipe.rollout, run / "model", recipe.prompt, store, 1)
        rewards = RewardPool(f"{run.name}-shuffled", recipe.reward)
        policy = Policy(run / "model", Encoder(run / "model", recipe.prompt), torch.float32)
        sample = Sample(policy.encoder.expand(tasks[0]), tasks[0].images, policy.encoder.response_ids(tasks[0].reference or "A"))
        with torch.no_grad():
            expected = policy(policy.collate([sample], [0], torch.device("cpu")), 1.0, raw=True)[0].numpy()
        state = {name: value.contiguous() for name, value in policy.model.state_dict().items()}
        wait_for(store.publish.remote(0, pack(state), [(sample, expected)]), 60, "the weight store")
        rollouts.ready()
        rollouts.update(0)
        scores = {name: Scores(answer(asked, rollouts, rewards, 0), recipe.evaluation.bootstrap).measures()
                  for name, asked in (("own images", tasks), ("shuffled images", shuffled))}
        chance = float(np.mean([task.chance for task in tasks if task.domain == "closed"]))
        return scores | {"chance": {"closed_accuracy": (chance, chance, chance)}}


if __name__ == "__main__":
    quiet_libraries()
    print(json.dumps(main(Path(sys.argv[1]).absolute()), indent=2))
