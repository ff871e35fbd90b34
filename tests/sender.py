"""An actor that publishes weights as the learner's rank 0 does."""

from actors.waiting import wait_for
from actors.weights import bucket_of, send


class Sender:
    def send(self, store, version, number, tensors, timeout_s=20.0):
        send(store, version, number, bucket_of(tensors), "learner rank 0", timeout_s)

    def publish(self, store, version, buckets, probe):
        for number, tensors in enumerate(buckets):
            self.send(store, version, number, tensors)
        wait_for(store.publish.remote(version, len(buckets), probe), 20, "the store")
