"""Runs that share a cluster: one after another, each only where there is room for all its workers."""

import threading
import time

import pytest
import ray

from cluster.control import run_queue as admission
from cluster.control.run_queue import RunQueue, wait_for_slot
from cluster.planning.placement import describe


@ray.remote
class Worker:
    def ready(self):
        return True


class Contender(threading.Thread):
    """A run with one worker of so many CPUs, which it keeps until it is told to end."""

    def __init__(self, name, cpus):
        super().__init__(daemon=True)
        self.name, self.cpus, self.reasons = name, cpus, []
        self.standing, self.end = threading.Event(), threading.Event()
        self.start()

    def run(self):
        with wait_for_slot(self.name, [{"CPU": self.cpus}], self.reasons.append):
            worker = Worker.options(num_cpus=self.cpus).remote()
            assert ray.get(worker.ready.remote(), timeout=60)
            self.standing.set()
            time.sleep(2)  # others see that it is still its turn
        self.end.wait()
        ray.kill(worker)


def test_a_run_waits_for_its_turn_and_then_for_room(ray_session):
    first = Contender("/runs/a", 3)
    assert first.standing.wait(60)
    second = Contender("/runs/b", 2)
    assert not second.standing.wait(5), "it started where there is no room"
    third = Contender("/runs/c", 1)
    assert not third.standing.wait(4), "it overtook the one before it"
    assert second.reasons[0] == "behind /runs/a" and third.reasons == ["behind /runs/b"] * len(third.reasons)
    assert second.reasons[-1].startswith("the cluster has no room yet for 1 × (CPU 2); free are CPU ")
    first.end.set()
    assert second.standing.wait(60) and third.standing.wait(60)
    second.end.set(), third.end.set()
    for run in (first, second, third):
        run.join(30)
        assert not run.is_alive()


def test_who_gives_up_leaves_the_line_and_no_reservation(ray_session):
    class Enough(Exception):
        pass

    def lose_patience(why):
        raise Enough

    with pytest.raises(Enough), wait_for_slot("/runs/impatient", [{"CPU": 99.0}], lose_patience):
        pass
    waited = []

    def wait(why):
        waited.append(why)
        assert len(waited) < 30, why

    with wait_for_slot("/runs/next", [{"CPU": 3.0}], wait):  # other tests' learner ranks hold the rest of the fourth
        pass
    assert not [group for group in ray.util.placement_group_table().values() if group["state"] not in ("REMOVED",)]


def test_a_run_that_died_in_the_line_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(admission, "GONE_S", 0.3)
    line = RunQueue()
    assert line.ahead("dead") == [] and line.ahead("alive") == ["dead"]
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        seen = line.ahead("alive")
    assert seen == []
    line.leave("alive")
    assert line.ahead("later") == []


def test_bundles_are_told_in_words():
    assert describe([{"CPU": 4.0, "GPU": 1.0}] * 2 + [{"CPU": 0.5}]) == "2 × (CPU 4, GPU 1), 1 × (CPU 0.5)"
