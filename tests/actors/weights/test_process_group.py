"""Tensors to several processes at once, in plain processes, by gloo."""

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import wait

import pytest
import torch

from actors.weights.process_group import CollectiveError, WeightGroup

NAMES = ["learner rank 0", "rollout-0", "rollout-1", "rollout-2"]
CPU = torch.device("cpu")
BUCKETS = [
    {
        "z": torch.tensor([True, False, True]),
        "b": torch.randn(3, 5),
        "scalar": torch.tensor(7.0),
        "d": torch.randn(3).bfloat16(),
    },
    {
        "e": torch.arange(100_000),
        "f": torch.randn(4, 6).T,
        "g": torch.randn(2, 2).half(),
        "empty": torch.zeros(0, 4),
        "i": torch.arange(3, dtype=torch.uint8),
        "j": torch.randn(1).double(),
        "k": torch.arange(3, dtype=torch.int32),
    },
    {"nothing": torch.zeros(0)},
]


def member(port, rank, told, limit_s):
    """Receives versions until the group ends."""
    torch.set_num_threads(1)
    try:
        group = WeightGroup("127.0.0.1", port, rank, NAMES, CPU, limit_s)
        if rank == 0:
            told.send((0, (group.port, "")))
        group.join()
        if rank == 0:
            told.send((0, "joined"))
            time.sleep(60)
        while True:
            version = []
            while bucket := group.receive():
                version.append(
                    {name: (str(value.dtype), value.shape, value.float().tolist()) for name, value in bucket.items()}
                )
                told.send((rank, "bucket"))
            told.send((rank, version))
    except CollectiveError as error:
        told.send((rank, str(error)))


class Told:
    """What members say, each by a pipe of its own: one that is killed while it speaks keeps nobody else from it."""

    def __init__(self):
        self.ends = []

    def get(self, timeout):
        until = time.monotonic() + timeout
        while ready := wait(self.ends, max(0, until - time.monotonic())):
            try:
                return ready[0].recv()
            except EOFError:
                self.ends.remove(ready[0])
        raise TimeoutError("nobody says anything")


@pytest.fixture
def start():
    """Members by rank, and what they tell."""
    method, ended = multiprocessing.get_context("forkserver"), []
    method.set_forkserver_preload(["actors.weights.process_group"])
    told = Told()

    def start_(port, ranks, limit_s):
        members = {}
        for rank in ranks:
            here, there = method.Pipe(duplex=False)
            members[rank] = method.Process(target=member, args=(port, rank, there, limit_s), daemon=True)
            members[rank].start()
            there.close()
            told.ends.append(here)
        ended.extend(members.values())
        return members

    yield start_, told
    for process in ended:
        process.kill()


def hear(told, count, what=lambda word: word != "bucket"):
    heard = []
    while len(heard) < count:
        rank, word = told.get(timeout=30)
        if what(word):
            heard.append((rank, word))
    return dict(heard)


def test_every_tensor_comes_as_it_was_for_one_version_after_the_other(start):
    start, told = start
    group = WeightGroup("127.0.0.1", 0, 0, NAMES, CPU, 20)
    start(group.port, (1, 2, 3), 20)
    group.join()
    for buckets in (BUCKETS, BUCKETS[1:]):
        for bucket in (*buckets, {}):
            group.send(bucket)
        wanted = [
            {name: (str(value.dtype), value.shape, value.float().tolist()) for name, value in bucket.items()}
            for bucket in buckets
        ]
        heard = hear(told, 3)
        assert sorted(heard) == [1, 2, 3] and all(version == wanted for version in heard.values())
        assert all(
            list(a) == sorted(a, key=lambda name: -b[name].element_size())
            for a, b in zip(heard[1], buckets, strict=True)
        )
    group.close()
    assert all("learner rank 0" in word for word in hear(told, 3).values())


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_receiver_ends_the_group_for_all_and_is_named(start, fault):
    start, told = start
    group = WeightGroup("127.0.0.1", 0, 0, NAMES, CPU, 2)
    members = start(group.port, (1, 2, 3), 2)
    group.join()
    group.send(BUCKETS[0])
    hear(told, 3, lambda word: word == "bucket")
    os.kill(members[3].pid, fault)
    began = time.monotonic()
    with pytest.raises(CollectiveError, match="rollout-2 gave no sign of life") as raised:
        while True:
            group.send({"large": torch.zeros(10_000_000)})
    assert time.monotonic() - began < 2 + 4 and "rollout-1" not in str(raised.value)
    assert sorted(hear(told, 2)) == [1, 2]
    assert time.monotonic() - began < 2 + 8
    with pytest.raises(CollectiveError, match="rollout-2"):
        group.send(BUCKETS[0])


def test_who_does_not_join_is_named(start):
    start, told = start
    group = WeightGroup("127.0.0.1", 0, 0, NAMES, CPU, 2)
    start(group.port, (1, 3), 2)
    with pytest.raises(CollectiveError, match=r"^rollout-1 gave no sign of life \(.*could not join within 2 s"):
        group.join()
    assert sorted(hear(told, 2)) == [1, 3]


def test_a_receiver_that_fails_says_so_to_all(start):
    start, told = start
    group = WeightGroup("127.0.0.1", 0, 0, NAMES, CPU, 20)
    start(group.port, (1, 2), 20)
    third = WeightGroup("127.0.0.1", group.port, 3, NAMES, CPU, 20)
    thread = threading.Thread(target=third.join)
    thread.start()
    group.join()
    thread.join(20)
    third.fail("no memory")
    with pytest.raises(CollectiveError, match="^rollout-2: no memory"):
        while True:
            group.send(BUCKETS[1])
    assert all(word == "rollout-2: no memory" for word in hear(told, 2).values())


def test_a_lost_sender_is_named(start):
    start, told = start
    (sender,) = start(0, (0,), 20).values()
    port, _ = hear(told, 1)[0]
    start(port, (1, 2, 3), 20)
    assert hear(told, 1) == {0: "joined"}
    sender.kill()
    assert all(word.startswith("learner rank 0 is gone") for word in hear(told, 3).values())
