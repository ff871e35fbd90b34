"""Weights on their way: buckets, the store that owns them, the window that an engine reads."""

import psutil
import pytest
import ray
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.waiting import RemoteFailure, wait_for
from actors.weights import Version, WeightStore, bucket_of, cut, tensor_of
from actors.window import Window, look
from sender import Sender

FIRST, SECOND, THIRD = Version(0, 1), Version(0, 2), Version(1, 2)
LARGE = torch.arange(300_000, dtype=torch.float32)  # too large to travel inside a message


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 100))
def test_buckets_hold_every_tensor_once_in_order_and_keep_to_the_limit(sizes, most):
    places = list(cut(sizes, most))
    assert [size for part in places for size in sizes[part]] == sizes
    assert all(sum(sizes[part]) <= most or part.stop - part.start == 1 for part in places)
    assert all(sum(sizes[a]) + sizes[b.start] > most for a, b in zip(places, places[1:]))  # none is cut too early


def test_a_window_shows_tensors_of_any_type_one_bucket_after_the_other():
    buckets = [{"a": torch.randn(3, 5), "b": torch.tensor(7.0), "c": torch.randn(4, 6).T, "d": torch.randn(3).bfloat16()},
               {"e": torch.arange(100_000), "f": torch.ones(1, dtype=torch.bool)}, {"g": torch.randn(2, 2).half(), "h": torch.zeros(0)}]
    seen = []
    with Window() as window:
        for tensors in buckets:
            bucket = bucket_of(tensors)
            assert all(torch.equal(tensor_of(piece), tensors[piece.name]) for piece in bucket)
            seen.append(look(window.path, window.show(bucket), "cpu"))
    for tensors, found in zip(buckets, seen, strict=True):
        for name, value in found:
            assert value.dtype == tensors[name].dtype and torch.equal(value, tensors[name])


def test_tensors_that_lie_on_the_cpu_are_not_copied():
    (piece,) = bucket_of({"a": LARGE})
    assert piece.data.ctypes.data == LARGE.data_ptr()


@pytest.fixture
def store(ray_session):
    store = ray.remote(WeightStore).options(num_cpus=0, max_concurrency=100).remote()
    yield store
    ray.kill(store)


def sender(concurrency=2):
    return ray.remote(Sender).options(num_cpus=0.1, max_concurrency=concurrency).remote()


def ask(reference):
    return wait_for(reference, 30, "the actor")


def fetched(store, version):
    references, probe = ask(store.fetch.remote(version))
    return {piece.name: tensor_of(piece) for bucket in ray.get(references, timeout=30) for piece in bucket}, probe


def test_a_version_outlives_its_learner_and_only_two_are_kept(store):
    first = sender()
    for number, version in enumerate((FIRST, SECOND, THIRD)):
        ask(first.publish.remote(store, version, [{"a": LARGE + number}, {"b": LARGE - number}], number))
    ray.kill(first)
    for number, version in ((1, SECOND), (2, THIRD)):
        weights, probe = fetched(store, version)
        assert torch.equal(weights["a"], LARGE + number) and torch.equal(weights["b"], LARGE - number) and probe == number
    with pytest.raises(RemoteFailure, match="version 0.1 is not kept; kept are 0.2, 1.2"):
        ask(store.fetch.remote(FIRST))


def test_a_version_is_not_seen_before_it_is_whole(store):
    """Its learner is killed on the way; the one before stays, and the next learner begins anew."""
    first = sender()
    ask(first.publish.remote(store, FIRST, [{"a": LARGE}], "probe"))
    ask(first.send.remote(store, SECOND, 0, {"a": LARGE + 1}))
    with pytest.raises(RemoteFailure, match="bucket 2 of weights version 0.2 is not the next: 1 of version 0.2 have come"):
        ask(store.publish.remote(SECOND, 2, "probe"))
    psutil.Process(ask(first.__ray_call__.remote(lambda _: __import__("os").getpid()))).kill()
    with pytest.raises(RemoteFailure, match="version 0.2 is not kept; kept are 0.1"):
        ask(store.fetch.remote(SECOND))
    second = sender()
    with pytest.raises(RemoteFailure, match="is not the next"):
        ask(second.send.remote(store, THIRD, 1, {"a": LARGE}))
    ask(second.publish.remote(store, THIRD, [{"a": LARGE + 2}], "other"))
    assert torch.equal(fetched(store, THIRD)[0]["a"], LARGE + 2) and torch.equal(fetched(store, FIRST)[0]["a"], LARGE)


def test_who_does_not_hand_its_bucket_over_is_named(store):
    deaf = sender(concurrency=1)  # its only thread waits for the store
    with pytest.raises(RemoteFailure, match="learner rank 0 did not hand over bucket 0 of weights version 0.1 within 0.5 s"):
        ask(deaf.send.remote(store, FIRST, 0, {"a": LARGE}, 0.5))
