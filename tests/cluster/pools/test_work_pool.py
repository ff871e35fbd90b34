"""Pools of workers under faults: real Ray actors that are killed, stopped and told to fail."""

import asyncio
import os
import random
import re
import signal
import sys
import threading
import time

import pytest
import ray

from actors.runtime.remote import RemoteFailure
from actors.runtime.restart_policy import Restarts
from cluster.pools.pool_config import WorkPoolConfig
from cluster.pools.shares import Failed
from cluster.pools.work_pool import WorkPool
from cluster.pools.worker_health import Limits

WAIT_S = 60
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test


class Doubler:
    """Doubles numbers, slowly; some numbers are bad for it. Leaves its process id in a folder."""

    def __init__(self, pause_s, folder):
        self.pause_s, self.folder = pause_s, folder
        (folder / str(os.getpid())).touch()

    def ready(self):
        return ray.get_runtime_context().get_node_id()

    def update(self, version):
        (self.folder / f"{os.getpid()}-{version}").touch()
        if version == 5 and not (self.folder / "liar").exists():
            (self.folder / "liar").touch()
            raise ValueError("holds another version")
        self.version = version
        return version / 100

    def double_at(self, version, numbers):
        return [2 * number for number in numbers if self.version == version]

    def double(self, numbers):
        for number in numbers:
            time.sleep(self.pause_s)
            if number == 13:
                os._exit(1)
            if number == 17:
                raise ValueError("17 is not liked")
        return [2 * number for number in numbers]


@pytest.fixture
def open_pool(ray_session, tmp_path):
    pools = []

    def open_(size, pause_s=0.0, restarts=(100, 60, 0), tries=1, actor=Doubler, update=None):
        made, (limit, window_s, backoff_s) = ray.remote(actor), restarts

        def start(rank, name):
            return made.options(name=name, num_cpus=0.01).remote(pause_s, tmp_path)

        pools.append(
            WorkPool(
                WorkPoolConfig(f"test-{os.urandom(4).hex()}", "doubler", size, Limits(start_s=60), 5, tries),
                start,
                Restarts(limit, window_s, backoff_s),
                update,
            )
        )
        return pools[-1]

    yield open_
    for pool in pools:
        pool.stop()


def double(actor, numbers):
    return actor.double.remote(numbers)


def ready(pool, size):
    until = time.monotonic() + WAIT_S
    while sum(worker.health.accepts for worker in pool.workers.values()) != size or len(pool.workers) != size:
        assert time.monotonic() < until
        pool.pump(0.2)


def test_results_come_in_order_whatever_the_number_of_workers(open_pool):
    for size in (1, 3):
        pool = open_pool(size)
        assert pool.map(list(range(7)), double, WAIT_S) == list(range(0, 14, 2))
        assert pool.map([], double, WAIT_S) == [] and pool.map([4], double, WAIT_S) == [8]


def test_bad_items_alone_are_given_up(open_pool):
    pool = open_pool(2)
    results = pool.map([1, 13, 2, 3, 17, 4], double, WAIT_S)
    assert [r for r in results if not isinstance(r, Failed)] == [2, 4, 6, 8]
    assert "died" in results[1].why and "17 is not liked" in results[4].why


class Streamer:
    """Doubles numbers one by one, the last one first; leaves a file for each time that it doubled one."""

    def __init__(self, pause_s, folder):
        self.pause_s, self.folder = pause_s, folder

    async def ready(self):
        return ray.get_runtime_context().get_node_id()

    async def double(self, numbers):
        for position in reversed(range(len(numbers))):
            await asyncio.sleep(self.pause_s)
            number = numbers[position]
            if number == 13:
                os._exit(1)
            if number == 17:
                raise ValueError("17 is not liked")
            if number == 19:
                return
            (self.folder / f"{number}-{time.monotonic_ns()}").touch()
            yield position, 2 * number


def test_results_arrive_one_by_one_and_end_in_order(open_pool):
    pool, arrived = open_pool(2, pause_s=0.2, actor=Streamer), []
    batch = pool.submit(list(range(20, 28)), double, WAIT_S, arrived.append)
    while not arrived:
        pool.pump()
    assert not batch.done
    assert pool.gather(batch) == list(range(40, 56, 2))
    assert sorted(arrived) == batch.results and arrived != batch.results


def test_what_a_worker_had_given_before_it_died_is_not_done_again(open_pool, tmp_path):
    pool = open_pool(1, actor=Streamer)
    results = pool.map([20, 13, 21, 17, 22, 23], double, WAIT_S)
    assert [r for r in results if not isinstance(r, Failed)] == [40, 42, 44, 46]
    assert "died" in results[1].why and "17 is not liked" in results[3].why
    assert len(list(tmp_path.iterdir())) == 4


def test_a_stream_that_lacks_results_is_told(open_pool):
    with pytest.raises(RemoteFailure, match=r"doubler-0 on [\d.]+ gave 1 results for 3 items"):
        open_pool(1, actor=Streamer).map([1, 19, 3], double, WAIT_S)


def test_too_few_results_are_told(open_pool):
    with pytest.raises(RemoteFailure, match=r"doubler-0 on [\d.]+ gave 2 results for 3 items"):
        open_pool(1).map([1, 2, 3], lambda actor, numbers: actor.double.remote(numbers[1:]), WAIT_S)


def test_workers_killed_at_any_moment_lose_nothing(open_pool, tmp_path):
    pool, killed, over = open_pool(3, pause_s=0.02, tries=5), set(), threading.Event()
    ready(pool, 3)

    def kill():
        rng = random.Random(0)
        while len(killed) < 4 and not over.wait(0.3):
            victim = rng.choice([int(file.name) for file in tmp_path.iterdir() if int(file.name) not in killed] or [0])
            if victim:
                os.kill(victim, signal.SIGKILL)
                killed.add(victim)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        while len(killed) < 4:
            numbers = list(range(20, 80))
            assert pool.map(numbers, double, WAIT_S) == [2 * n for n in numbers]
    finally:
        over.set()
        thread.join()
    ready(pool, 3)


def test_a_stopped_worker_is_noticed_and_replaced(open_pool, tmp_path):
    pool = open_pool(1)
    ready(pool, 1)
    (stopped,) = (int(file.name) for file in tmp_path.iterdir())
    os.kill(stopped, signal.SIGSTOP)
    began = time.monotonic()
    assert pool.map(list(range(20, 28)), double, 3) == list(range(40, 56, 2))
    assert time.monotonic() - began >= 3
    assert re.fullmatch(r"doubler-0 on [\d.]+ did not answer its work within 3 s", pool.lifecycle.last_death)
    assert len(list(tmp_path.iterdir())) == 2


def test_an_idle_worker_that_gives_no_sign_of_life_is_replaced(ray_session, tmp_path):
    class Alive(Doubler):
        async def ping(self):
            pass

    made = ray.remote(Alive)
    pool = WorkPool(
        WorkPoolConfig(f"test-{os.urandom(4).hex()}", "doubler", 1, Limits(60, 1, 3), 5, beat_s=0.2),
        lambda rank, name: made.options(name=name, num_cpus=0.01).remote(0, tmp_path),
        Restarts(9, 60, 0),
    )
    try:
        ready(pool, 1)
        (stopped,) = (int(file.name) for file in tmp_path.iterdir())
        os.kill(stopped, signal.SIGSTOP)
        until = time.monotonic() + WAIT_S
        while not pool.deaths and time.monotonic() < until:
            pool.pump(0.2)
        assert (
            re.fullmatch(r"doubler-0 on [\d.]+ did not answer for 3 s", pool.lifecycle.last_death)
            and "another is started" in pool.take_events()[0]
        )
        ready(pool, 1)
        assert pool.map([20], double, WAIT_S) == [40]
    finally:
        pool.stop()


def test_more_and_fewer_workers_while_they_work(open_pool):
    pool = open_pool(1, pause_s=0.05)
    ready(pool, 1)
    first = pool.submit(list(range(20, 30)), double, WAIT_S)
    pool.pump(0)
    pool.scale(3)
    ready(pool, 3)
    second = pool.submit(list(range(40, 70)), double, WAIT_S)
    pool.pump(0)
    assert sum(worker.pending["work"] for worker in pool.workers.values()) >= 2
    pool.scale(1)
    while not (first.done and second.done):
        pool.pump()
    assert first.results == list(range(40, 60, 2)) and second.results == list(range(80, 140, 2))
    ready(pool, 1)
    assert list(pool.workers) == [0]


def test_workers_that_cannot_start_end_the_wait_at_once(open_pool):
    class Broken(Doubler):
        def __init__(self, pause_s, folder):
            raise RuntimeError("no such model")

    pool = open_pool(2, actor=Broken)
    with pytest.raises(RemoteFailure, match="doubler-[01] could not start: RuntimeError: no such model"):
        pool.map([1], double, WAIT_S)


def test_too_many_deaths_end_the_wait_with_the_reason(open_pool):
    pool = open_pool(1, restarts=(2, 600, 0.1), tries=100)
    ready(pool, 1)
    with pytest.raises(RemoteFailure, match="3 doubler workers died within 600 s; the last: doubler-0.* died"):
        pool.map([13], double, WAIT_S)


def test_nobody_works_before_it_holds_the_version(open_pool, tmp_path):
    pool = open_pool(2, update=lambda actor, version: actor.update.remote(version))
    assert pool.update(3)[0] == 0.03
    pool.update(4)
    pool.scale(3)  # the third takes the present version when it stands

    def double_at(actor, numbers):
        return actor.double_at.remote(4, numbers)

    ready(pool, 3)
    assert pool.map(list(range(9)), double_at, WAIT_S) == list(range(0, 18, 2))
    pids = {file.name.partition("-")[0] for file in tmp_path.iterdir()}
    assert len(pids) == 3 and all((tmp_path / f"{pid}-4").exists() for pid in pids)


def test_nobody_is_waited_for_where_the_version_may_come_while_the_run_goes_on(open_pool):
    pool = open_pool(2, update=lambda actor, version: actor.update.remote(version))
    pool.update(3)
    ready(pool, 2)
    pool.begin_version(4)
    assert {worker.health.version for worker in pool.workers.values()} == {3}
    assert pool.map(list(range(9)), lambda actor, numbers: actor.double_at.remote(4, numbers), WAIT_S) == list(
        range(0, 18, 2)
    )
    assert pool.wait_until_current() == [0.04, 0.04]


def test_one_that_does_not_hold_the_version_is_replaced(open_pool, tmp_path):
    pool = open_pool(2, update=lambda actor, version: actor.update.remote(version))
    pool.update(4)
    pool.update(5)
    assert "holds another version" in pool.lifecycle.last_death
    ready(pool, 2)
    assert all(worker.health.version == 5 for worker in pool.workers.values())
    assert len({file.name.partition("-")[0] for file in tmp_path.iterdir()} - {"liar"}) == 3
