"""Weights straight from a learner's rank into the engines of a pool, by gloo; and what becomes of them when something
dies.
"""

import os
import signal
import threading
import time

import psutil
import pytest
import ray

from actors.learner.orders import Keep, Publish
from actors.learner.sft_update import SftUpdate
from actors.model.encode import PromptConfig
from actors.rollout.config import RolloutConfig
from actors.runtime.remote import wait_for
from actors.weights.store import WeightStore
from actors.weights.transports import TRANSPORTS
from actors.weights.version import Version
from cluster.pools.rollout_pool import RolloutPool
from cluster.pools.worker_health import State

pytestmark = pytest.mark.slow  # whole runs of the suite take this way, test_recovery.py and test_requests.py
CONFIG = RolloutConfig(workers=2, cpus=0.25, max_response_tokens=24, max_model_tokens=256, max_sequences=8)
LIMIT_S = 3.0


@pytest.fixture(scope="module")
def store(ray_session):
    store = ray.remote(WeightStore).options(num_cpus=0, max_concurrency=100).remote()
    yield store
    ray.kill(store)


@pytest.fixture(scope="module")
def pool(store, tiny_model):
    pool = RolloutPool(
        f"test-{os.urandom(4).hex()}", CONFIG, tiny_model, PromptConfig(), store, 1, TRANSPORTS["collective"]
    )
    pool.ready()
    yield pool
    pool.stop()


@pytest.fixture(scope="module")
def learner(one, store, pool):
    one.make_unchecked(store=store, transport="collective", silent_s=LIMIT_S)
    one.first("publish_in", 2**18)
    return one


def nothing():
    pass


def publish(learner, pool, version, probe, meanwhile=nothing):
    """As the run does it, without bringing the version to the store."""
    pool.begin_update(version, False, nothing)
    receivers = pool.receivers()
    sent = learner.hosts[0].call.remote(Publish(version, probe, receivers))
    meanwhile()
    while not ray.wait([sent], timeout=0.05)[0]:
        pool.pool.pump(0)
    return wait_for(sent, 10, "learner rank 0"), receivers


def group(learner):
    return wait_for(
        learner.hosts[0].__ray_call__.remote(lambda host: {o.group for o in host.made.sender.offers.values()}),
        30,
        "learner rank 0",
    )


def engine_of(worker):
    pid = wait_for(worker.actor.__ray_call__.remote(lambda _: os.getpid()), 30, worker.title)
    return psutil.Process(pid), max(
        psutil.Process(pid).children(recursive=True), key=lambda child: child.memory_info().rss
    )


def test_versions_reach_all_engines_before_the_store_has_them_and_the_group_stays(learner, pool, store, phantom_tasks):
    sent, receivers = publish(learner, pool, Version(0, 1), phantom_tasks[:1])
    assert sent[:2] == (2, []) and len(receivers) == 2
    assert pool.wait_until_current(nothing) < 1e-4
    first = group(learner)
    learner.update(SftUpdate(phantom_tasks[:4], 1e-2))
    sent, _ = publish(learner, pool, Version(0, 2), phantom_tasks[:1])
    assert sent[:2] == (2, []) and pool.wait_until_current(nothing) < 1e-4
    assert group(learner) == first and len(first) == 1 and not pool.pool.deaths


def test_a_version_that_does_not_come_costs_no_worker(learner, pool, phantom_tasks):
    """The learner died, say, after the workers were told."""
    pool.pool.begin_version(Version(0, 3))
    pool.pool.pump(0.5)
    pool.cancel_version()
    sent, _ = publish(learner, pool, Version(1, 2), phantom_tasks[:1])
    assert sent[:2] == (2, []) and pool.wait_until_current(nothing) < 1e-4 and not pool.pool.deaths


def test_an_engine_that_dies_on_the_way_is_named_and_the_others_take_the_version_from_the_store(
    learner, pool, phantom_tasks
):
    learner.update(SftUpdate(phantom_tasks[4:8], 1e-2))
    process, engine = engine_of(pool.pool.workers[1])
    title = pool.pool.workers[1].title
    engine.send_signal(signal.SIGSTOP)  # so that it has not all when it dies
    threading.Timer(1.0, process.kill).start()
    began = time.monotonic()
    sent, receivers = publish(learner, pool, Version(1, 3), phantom_tasks[:1])
    assert time.monotonic() - began < LIMIT_S + 5
    assert (
        sent.reached == 0
        and len(receivers) == 2
        and len(sent.events) == 1
        and f"{title} gave no sign of life" in sent.events[0]
    )
    learner.call(Keep(Version(1, 3)))
    assert len(pool.pool.wait_until_current()) == 1 and pool.pool.deaths == 1
    while pool.pool.count(State.READY) < 2:  # the one in its place comes late, and finds it at the store
        pool.pool.pump()
    assert {worker.health.version for worker in pool.pool.workers.values()} == {Version(1, 3)} and pool.pool.deaths == 1
    assert pool.wait_until_current(nothing) < 1e-4
    sent, _ = publish(learner, pool, Version(1, 4), phantom_tasks[:1])  # a new group
    assert sent[:2] == (2, []) and pool.wait_until_current(nothing) < 1e-4
