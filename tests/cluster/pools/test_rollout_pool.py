"""The run's handle on its rollout workers, by light workers: versions, sleep and requests. Real engines:
test_broadcaster.py.
"""

import os
import sys
import time

import numpy as np
import pytest
import ray

from actors.model.encode import PromptConfig
from actors.rollout.config import RolloutConfig
from actors.runtime.remote import wait_for
from actors.trajectory import Group
from actors.weights.version import ASLEEP, Version
from cluster.pools import rollout_pool
from cluster.pools.rollout_pool import RolloutPool

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no folder of tests
FIRST, SECOND = Version(0, 1), Version(0, 2)


class LightWorker:
    """Answers as a rollout worker does; a version takes it a moment."""

    def __init__(self, rank, config, model, prompt, store, images, transport, lora):
        self.rank, self.transport, self.taken = rank, transport, []

    async def ready(self):
        return ray.get_runtime_context().get_node_id()

    async def ping(self):
        pass

    async def update(self, version):
        import asyncio

        await asyncio.sleep(0.3)
        self.taken.append(version)
        return 0.01 * (1 + self.rank)

    async def generate(self, requests, temperature, version):
        assert self.taken[-1] == version
        answers = [f"{request} by {self.rank} at {temperature}, version {version.number}" for request in requests]
        return [Group(answer, None, np.zeros(0, np.int32), ()) for answer in answers]

    async def close(self):
        pass

    async def history(self):
        return self.transport.name, self.taken


@pytest.fixture
def pool(ray_session, monkeypatch):
    monkeypatch.setattr(rollout_pool, "RolloutWorker", LightWorker)
    pool = RolloutPool(
        f"test-{os.urandom(4).hex()}", RolloutConfig(workers=2, cpus=0.1), "model", PromptConfig(), object(), 1
    )
    pool.ready()
    yield pool
    pool.stop()


def nothing():
    pass


def histories(pool):
    return [wait_for(worker.actor.history.remote(), 30, worker.title) for worker in pool.pool.workers.values()]


def test_workers_take_versions_one_after_the_other_and_the_largest_error_counts(pool):
    with pytest.raises(ValueError, match="hold no version yet"):
        pool.submit(["a"], 1.0)
    pool.begin_update(FIRST, False, nothing)
    assert len(pool.receivers()) == 2
    waits = []
    pool.begin_update(SECOND, True, lambda: waits.append(time.monotonic()))
    assert waits and len(pool.receivers()) == 2
    assert pool.wait_until_current(nothing) == pytest.approx(0.02) and pool.receivers() == {}
    assert histories(pool) == [("store", [FIRST, SECOND])] * 2
    assert [group.group_id for group in pool.generate(["a", "b", "c"], 0.7)] == [
        "a by 0 at 0.7, version 2",
        "b by 1 at 0.7, version 2",
        "c by 1 at 0.7, version 2",
    ]


def test_a_pool_that_sleeps_takes_no_requests_until_the_next_version(pool):
    pool.begin_update(FIRST, False, nothing)
    pool.wait_until_current(nothing)
    pool.sleep()
    assert [taken for _, taken in histories(pool)] == [[FIRST, ASLEEP]] * 2
    pool.begin_update(SECOND, False, nothing)
    pool.wait_until_current(nothing)
    assert [group.group_id for group in pool.generate(["a"], 0.0)] == ["a by 0 at 0.0, version 2"]
