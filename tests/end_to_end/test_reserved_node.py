"""A node that offers `learner` has room for the ranks, although engines would fit there, too: a run on real nodes."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ray
from ray.cluster_utils import Cluster
from cluster import load_recipe, train

node = dict(object_store_memory=100 * 2**20)
cluster = Cluster(initialize_head=True, head_node_args=dict(num_cpus=0, **node))
cluster.add_node(num_cpus=2, resources={"learner": 1}, **node)
cluster.add_node(num_cpus=3, **node)
ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
sizes = ["rollout.workers=2", "rollout.cpus=1", "learner.cpus=2", "learner.timeout_s=60", "reward.cpus=0.5"]
steps = [f"stages.{name}.gate.max_steps=2" for name in ("sft", "closed", "open")]
print(train(load_recipe("recipes/smoke.yaml", [*sizes, *steps, "root=FOLDER"])).summary["status"])
"""


@pytest.mark.slow
def test_engines_leave_the_learners_node_to_its_ranks(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("FOLDER", str(tmp_path))],
        cwd=Path(__file__).parents[2],
        timeout=300,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "finished", (
        done.stdout[-2000:] + done.stderr[-2000:]
    )
