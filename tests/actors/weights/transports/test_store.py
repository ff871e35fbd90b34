"""The store transport: a receiver gets what was sent, or an error that names what is missing."""

import asyncio

import pytest
import ray
import torch
from safetensors.torch import load_file

from actors.runtime.remote import wait_for
from actors.weights.store import WeightStore
from actors.weights.transports import TRANSPORTS
from actors.weights.transports.base import ReceiverContext
from actors.weights.version import Version
from tests.support.sender import start_sender


class Files:
    """What weights are loaded into."""

    def __init__(self):
        self.weights = {}

    async def read(self, files):
        for file in files:
            self.weights |= {name: value.clone() for name, value in load_file(file).items()}


@pytest.fixture(scope="module")
def store(ray_session):
    store = ray.remote(WeightStore).options(num_cpus=0, max_concurrency=100).remote()
    sender = start_sender(store)
    buckets = [{"a": torch.arange(5.0)}, {"b": torch.ones(2, 3), "c": torch.tensor(7)}]
    wait_for(sender.publish.remote(Version(0, 1), buckets, "the probe"), 60, "the sender")
    yield store
    ray.kill(sender)
    ray.kill(store)


async def take(receiver, version, engine):
    delivery = await receiver.fetch(version)
    return await delivery.load(engine)


@pytest.mark.parametrize("name", ["store", "collective"])
def test_a_version_that_is_at_the_store_is_loaded_whole(store, name):
    """Also by the collective transport, if the worker starts late."""
    engine = Files()
    receiver = TRANSPORTS[name].receiver(ReceiverContext("rollout-3", store, 1, 60.0))
    assert asyncio.run(take(receiver, Version(0, 1), engine)) == "the probe"
    assert sorted(engine.weights) == ["a", "b", "c"] and torch.equal(engine.weights["a"], torch.arange(5.0))


def test_a_version_that_is_not_kept_is_named(store):
    receiver = TRANSPORTS["store"].receiver(ReceiverContext("rollout-3", store, 1, 60.0))
    with pytest.raises(KeyError, match="weights version 0.9 is not kept; kept are 0.1"):
        asyncio.run(take(receiver, Version(0, 9), Files()))
