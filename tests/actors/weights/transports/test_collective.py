"""The collective transport's receiver, up to the transfer. Transfers between real engines: test_broadcaster.py."""

import asyncio

import pytest
import ray

from actors.runtime.remote import RemoteFailure
from actors.weights.store import Offer, WeightStore
from actors.weights.transports.base import ReceiverContext
from actors.weights.transports.collective import CollectiveDelivery, CollectiveReceiver
from actors.weights.version import Version

NEXT = Version(0, 1)


@pytest.fixture
def store(ray_session):
    store = ray.remote(WeightStore).options(num_cpus=0, max_concurrency=100).remote()
    ray.get(store.await_receivers.remote(Version(0, 0), [], 1.0), timeout=60)  # it has started
    yield store
    ray.kill(store)


class Processes:
    """An engine's processes: which groups they joined, and whether they get anything."""

    def __init__(self, works=True):
        self.works, self.joined = works, []

    async def join(self, offer):
        self.joined.append(offer.group)

    async def receive(self):
        if not self.works:
            raise RuntimeError("the group is over")


def offer_of(group):
    return Offer(group, "127.0.0.1", 1, 1, ["learner rank 0", "rollout-0"], 5.0, ["the probe"])


def test_an_invited_worker_joins_a_group_once_and_returns_the_probe_of_the_offer(store):
    receiver, engine = CollectiveReceiver(ReceiverContext("rollout-0", store, 1, 60.0)), Processes()

    async def take(group):
        waiting = asyncio.create_task(receiver.fetch(NEXT))
        while not (present := await store.await_receivers.remote(NEXT, [None], 5.0)):
            pass
        await store.post_offers.remote(NEXT, {None: offer_of(group)})
        delivery = await waiting
        assert isinstance(delivery, CollectiveDelivery)
        return present[None].group, await delivery.load(engine)

    async def three():
        return [await take(group) for group in ("first", "first", "second")]

    assert asyncio.run(three()) == [("", ["the probe"]), ("first", ["the probe"]), ("first", ["the probe"])]
    assert engine.joined == ["first", "second"]


def test_a_worker_whose_transfer_failed_leaves_the_group_and_joins_again(store):
    receiver, engine = CollectiveReceiver(ReceiverContext("rollout-0", store, 1, 60.0)), Processes(works=False)
    assert asyncio.run(receiver.take_part(engine, offer_of("first"))) is False and receiver.group == ""
    engine.works = True
    assert asyncio.run(receiver.take_part(engine, offer_of("first"))) is True and engine.joined == ["first", "first"]


def test_a_version_that_does_not_come_in_time_is_named(store):
    receiver = CollectiveReceiver(ReceiverContext("rollout-0", store, 1, 0.3))
    with pytest.raises(RemoteFailure, match="^rollout-0 waited in vain for weights version 0.1, 0.3 s"):
        asyncio.run(receiver.fetch(NEXT))
