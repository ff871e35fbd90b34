"""Run by test_store.py in a process of its own, for a Ray cluster of two nodes: versions go to a weight store on a
node that has no space for one.

Prints one JSON object for each version: whether it arrived, bit for bit.
"""

import json

import numpy as np
import ray
import torch
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from safetensors.torch import load

from actors.runtime.environment import ENVIRONMENT, quiet_libraries
from actors.runtime.remote import wait_for
from actors.weights.store import WeightStore
from actors.weights.version import Version
from tests.support.sender import Sender

MIB = 2**20
SMALL, LARGE = 80 * MIB, 400 * MIB  # Ray's stores; it makes none below 75 MiB
BUCKETS, BUCKET = 4, 32 * MIB


def main() -> None:
    quiet_libraries()
    cluster = Cluster(initialize_head=True, head_node_args=dict(num_cpus=1, object_store_memory=SMALL))
    cluster.add_node(num_cpus=1, resources={"learner": 1}, object_store_memory=LARGE)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": dict(ENVIRONMENT)})
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    store = ray.remote(WeightStore).options(num_cpus=0, max_concurrency=100, scheduling_strategy=here).remote()
    learner = ray.remote(Sender).options(num_cpus=0, max_concurrency=2, resources={"learner": 1}).remote(store)
    for number in range(2):
        weights = [{f"w{i}": torch.full((BUCKET // 4,), 10.0 * number + i)} for i in range(BUCKETS)]
        wait_for(learner.publish.remote(Version(0, number), weights, []), 120, "the sender")
        references, _ = wait_for(store.fetch.remote(Version(0, number)), 60, "the weight store")
        arrived = {}
        for reference in references:
            parts = wait_for(reference, 60, "the weight store")
            arrived |= load(np.concatenate(parts).tobytes())
            del parts
        same = all(torch.equal(arrived[name], value) for bucket in weights for name, value in bucket.items())
        print(json.dumps({"version": number, "whole": same and len(arrived) == BUCKETS}), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
