"""Run by test_elastic.py in a process of its own, for a Ray cluster of several nodes: a learner loses a node, and gets
one back.

Prints one JSON object a line: what became of each order.
"""

import json
import sys
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from actors.learner.config import LearnerConfig
from actors.learner.handle import Learner, LearnerRestarted
from actors.learner.orders import Load
from actors.learner.setup import LearnerSetup, RankSetup
from actors.learner.sft_update import SftUpdate
from actors.model.encode import PromptConfig
from actors.runtime.environment import ENVIRONMENT, quiet_libraries
from actors.runtime.storage import Storage
from cluster.control.ray_connection import near_driver
from curriculum.task import Task

NODE = dict(num_cpus=1, resources={"learner": 1}, object_store_memory=100 * 2**20)


def main(model: str, tasks: str, folder: str) -> None:
    quiet_libraries()
    tasks = [Task.model_validate_json(line) for line in Path(tasks).read_text().splitlines()]
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    node = cluster.add_node(**NODE)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": dict(ENVIRONMENT)})
    config = LearnerConfig(
        workers=2, min_workers=1, cpus=0.5, zero_stage=2, silent_s=20, micro_batch_tokens=600, timeout_s=200
    )
    ranks = RankSetup(config, PromptConfig(), model, None, 0)
    learner = Learner(LearnerSetup("elastic", ranks, Storage(folder), True, near_driver()))

    def tell(event, **more):
        print(
            json.dumps({"event": event, "ranks": learner.ranks, "at_s": round(time.monotonic() - start, 1), **more}),
            flush=True,
        )

    def restarted(order):
        """Does it until the ranks restart: for a moment a dead node's rank goes on."""
        while True:
            try:
                order()
            except LearnerRestarted as error:
                return tell("restarted", why=str(error))

    def commit(name):
        place = Storage(f"{folder}/{name}")
        place.clear()
        learner.save(place)
        return place

    def step():
        numbers = learner.update(SftUpdate(tasks[4:8], 1e-3)).numbers
        return {name: numbers[name] for name in ("loss", "grad_norm")}

    start = time.monotonic()
    learner.ready()
    learner.update(SftUpdate(tasks[:4], 1e-3))
    first = commit("first")
    tell("committed", step=step())
    cluster.remove_node(node, allow_graceful=False)
    restarted(step)
    learner.call(Load(first))
    tell("fewer", step=step())
    learner.grow()  # no node has room
    tell("alone", step=step())
    cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    learner.call(Load(first))
    second = commit("second")
    while learner.grown_at < 0:
        learner.grow()
        time.sleep(0.5)
    restarted(step)
    learner.call(Load(second))
    tell("more", step=step())
    learner.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
