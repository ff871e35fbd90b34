"""The calls that a worker has not answered."""

from cluster.pools.shares import Call
from cluster.pools.worker_handle import WorkerHandle
from cluster.pools.worker_health import Health, Limits


def test_calls_are_counted_by_kind_until_they_are_answered():
    worker = WorkerHandle(0, "w-0", None, Health(Limits(), 0.0))
    for ref, kind in (("r1", "work"), ("r2", "work"), ("r3", "beat")):
        worker.register(ref, Call(kind, 0.0))
    assert worker.pending["work"] == 2 and worker.pending["beat"] == 1 and worker.pending["update"] == 0
    assert worker.complete("r1").kind == "work"
    assert worker.pending["work"] == 1 and list(worker.calls) == ["r2", "r3"]
    worker.drop_calls()
    assert not worker.calls and worker.pending["work"] == worker.pending["beat"] == 0


def test_its_title_has_the_address_once_that_is_known():
    worker = WorkerHandle(0, "w-0", None, Health(Limits(), 0.0))
    assert worker.title == "w-0" and not worker.started
    worker.address = "10.0.0.7"
    worker.health.started(1.0)
    assert worker.title == "w-0 on 10.0.0.7" and worker.started
    worker.health.died("killed", 2.0)
    assert not worker.started
