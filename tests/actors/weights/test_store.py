"""The weight store: it owns the buckets of versions, and is where workers meet the learner."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import ray
import torch
from safetensors.torch import load

from actors.runtime.remote import RemoteFailure, wait_for
from actors.weights.store import Offer, Waiting, WeightStore
from actors.weights.version import Version
from tests.support.sender import start_sender

FIRST, SECOND, THIRD = Version(0, 1), Version(0, 2), Version(1, 2)
LARGE = torch.arange(300_000, dtype=torch.float32)  # too large to travel inside a message


@pytest.fixture
def store(ray_session):
    store = ray.remote(WeightStore).options(num_cpus=0, max_concurrency=100).remote()
    yield store
    ray.kill(store)


def ask(reference):
    return wait_for(reference, 30, "the actor")


def fetched(store, version):
    references, probe = ask(store.fetch.remote(version))
    return {
        name: value for bucket in ray.get(references, timeout=30) for name, value in load(b"".join(bucket)).items()
    }, probe


def test_a_version_outlives_its_learner_and_only_two_are_kept(store):
    learner = start_sender(store)
    for number, version in enumerate((FIRST, SECOND, THIRD)):
        ask(learner.publish.remote(version, [{"a": LARGE + number}, {"b": LARGE - number}], number))
    ray.kill(learner)
    for number, version in ((1, SECOND), (2, THIRD)):
        weights, probe = fetched(store, version)
        assert (
            torch.equal(weights["a"], LARGE + number) and torch.equal(weights["b"], LARGE - number) and probe == number
        )
    with pytest.raises(RemoteFailure, match="version 0.1 is not kept; kept are 0.2, 1.2"):
        ask(store.fetch.remote(FIRST))


def test_a_version_is_not_seen_before_it_is_whole(store):
    """Its learner is killed on the way; the one before stays, and the next learner begins again."""
    learner = start_sender(store)
    ask(learner.publish.remote(FIRST, [{"a": LARGE}], "probe"))
    ask(learner.send.remote(SECOND, 0, {"a": LARGE + 1}))
    with pytest.raises(
        RemoteFailure, match="bucket 2 of weights version 0.2 is not the next: 1 of version 0.2 have come"
    ):
        ask(store.publish.remote(SECOND, 2, "probe"))
    psutil.Process(ask(learner.__ray_call__.remote(lambda _: os.getpid()))).kill()
    with pytest.raises(RemoteFailure, match="version 0.2 is not kept; kept are 0.1"):
        ask(store.fetch.remote(SECOND))
    successor = start_sender(store)
    with pytest.raises(RemoteFailure, match="is not the next"):
        ask(successor.send.remote(THIRD, 1, {"a": LARGE}))
    ask(successor.publish.remote(THIRD, [{"a": LARGE + 2}], "other"))
    assert torch.equal(fetched(store, THIRD)[0]["a"], LARGE + 2) and torch.equal(fetched(store, FIRST)[0]["a"], LARGE)
    ray.kill(successor)


def test_who_does_not_hand_its_bucket_over_is_named(store):
    deaf = start_sender(store, threads=1)  # its only thread waits for the store
    with pytest.raises(
        RemoteFailure, match="learner rank 0 did not hand over bucket 0 of weights version 0.1 within 0.5 s"
    ):
        ask(deaf.send.remote(FIRST, 0, {"a": LARGE}, 0.5))
    ray.kill(deaf)


def test_workers_meet_the_learner_at_the_store(store):
    """Who waits is invited, and told where to; who comes to a version that is there is told that it is."""
    offer = Offer("group", "127.0.0.1", 1, 1, ["learner rank 0", "a"], 5.0, [])
    waits = {who: store.await_transfer.remote(who, SECOND, 1, group) for who, group in (("a", ""), ("b", "group"))}
    assert ask(store.await_receivers.remote(SECOND, ["b", "a"], 5.0)) == {
        "b": Waiting(SECOND, 1, "group"),
        "a": Waiting(SECOND, 1, ""),
    }
    assert ask(store.await_receivers.remote(SECOND, ["b", "c"], 0.2)) == {"b": Waiting(SECOND, 1, "group")}
    ask(store.post_offers.remote(SECOND, {"a": offer}))
    assert ask(waits["a"]) == offer
    assert ray.wait([waits["b"]], timeout=0.2)[0] == []
    learner = start_sender(store)
    ask(learner.publish.remote(SECOND, [{"a": LARGE}], "probe"))
    assert ask(waits["b"]) is None and ask(store.await_transfer.remote("a", SECOND, 1, "group")) is None
    ray.kill(learner)


def test_who_waits_for_a_version_that_does_not_come_is_told(store):
    overtaken, withdrawn = (
        store.await_transfer.remote("a", FIRST, 1, ""),
        store.await_transfer.remote("b", THIRD, 1, ""),
    )
    assert ask(store.await_receivers.remote(SECOND, [], 1.0)) == {}
    with pytest.raises(RemoteFailure, match="version 0.1 does not come any more; kept are none"):
        ask(overtaken)
    assert ray.wait([withdrawn], timeout=0.2)[0] == []
    ask(store.cancel.remote(THIRD))
    with pytest.raises(RemoteFailure, match="version 1.2 does not come any more"):
        ask(withdrawn)
    assert ray.wait([store.await_transfer.remote("a", Version(2, 1), 1, "")], timeout=0.2)[0] == []  # a later one may


@pytest.mark.slow
def test_versions_arrive_at_a_node_without_space_for_one():
    """Ray then keeps them in files of its temporary folder."""
    root = Path(__file__).parents[3]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.small_store"],
        env=environment | {"PYTHONPATH": str(root)},
        cwd=root,
        timeout=300,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert told == [{"version": number, "whole": True} for number in range(2)]
