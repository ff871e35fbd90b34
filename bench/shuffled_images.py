"""Control: does a trained model look at the film? Answers the test tasks with their own images, and with others.

    python -m bench.shuffled_images runs/quickstart

A model that reads only the question scores the same on both; one that sees falls to chance on the second.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from actors.runtime.environment import quiet_libraries
from cluster.config.recipe_file import load_recipe
from cluster.control.ray_connection import ray_cluster
from cluster.measures import Interval, Scores
from cluster.run.evaluation import answer, held_out
from cluster.run.prepare import prepare
from cluster.standalone.evaluate import answering, find_subject


def main(run: Path) -> dict[str, dict[str, Interval]]:
    recipe, subject = load_recipe(run / "recipe.yaml"), find_subject(run / "model")
    tasks = held_out(prepare(recipe, run).tasks["test"], recipe.tested_families, recipe.evaluation.test_per_family)
    films = sorted({task.images for task in tasks})
    order = np.random.default_rng(0).permutation(len(films))
    other = {films[i]: films[j] for i, j in zip(order, np.roll(order, 1), strict=True)}  # no task keeps its own
    shuffled = [task.model_copy(update={"images": other[task.images]}) for task in tasks]
    with ray_cluster(subject.roles), answering(subject, max(map(len, films))) as pools:
        scores = {
            name: Scores(answer(subset, **pools), recipe.evaluation.bootstrap).measures()
            for name, subset in (("own images", tasks), ("shuffled images", shuffled))
        }
    chance = float(np.mean([task.chance for task in tasks if task.domain == "closed"]))
    return scores | {"chance": {"closed_accuracy": (chance, chance, chance)}}


if __name__ == "__main__":
    quiet_libraries()
    print(json.dumps(main(Path(sys.argv[1]).absolute()), indent=2))
