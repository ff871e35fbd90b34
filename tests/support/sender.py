"""An actor that publishes weights as the learner's rank 0 does."""

import sys

import ray

from actors.weights.buckets import bring_to_store, bucket_of, send

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no folder of tests


class Sender:
    def __init__(self, store):
        self.store = store

    def send(self, version, number, tensors, timeout_s=20.0):
        send(self.store, version, number, bucket_of(tensors), "learner rank 0", timeout_s)

    def publish(self, version, buckets, probe):
        bring_to_store(self.store, version, buckets, probe, "learner rank 0", 20.0)


def start_sender(store, threads=2):
    return ray.remote(Sender).options(num_cpus=0, max_concurrency=threads).remote(store)
