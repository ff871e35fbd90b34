"""Which weights workers must hold; without processes. Real ones are in test_work_pool."""

import pytest

from cluster.pools.shares import Call
from cluster.pools.versions import NO_WEIGHTS, Versions
from cluster.pools.worker_handle import WorkerHandle
from cluster.pools.worker_health import Health, Limits, State


def worker_in(state, rank=0):
    worker = WorkerHandle(rank, f"w-{rank}", f"actor {rank}", Health(Limits(), 0.0))
    if state is not State.STARTING:
        worker.health.started(0.0)
    return worker


def test_workers_without_updates_keep_what_they_start_with():
    versions = Versions("reward", None, NO_WEIGHTS)
    versions.require()
    assert versions.fixed and versions.current == NO_WEIGHTS
    with pytest.raises(ValueError, match="reward workers hold no version"):
        versions.begin(1)
    worker = worker_in(State.SYNCING)
    versions.bring([worker], 0.0, 60)
    assert not worker.calls


def test_a_version_goes_once_to_every_worker_that_is_up_and_does_not_hold_it():
    sent = []

    def update(actor, version):
        sent.append((actor, version))
        return f"ref {len(sent)}"

    versions = Versions("rollout", update, NO_WEIGHTS)
    with pytest.raises(ValueError, match="rollout workers hold no version yet; update comes first"):
        versions.require()
    starting, up = worker_in(State.STARTING, 0), worker_in(State.SYNCING, 1)
    versions.bring([starting, up], 0.0, 60)
    assert not sent  # no version has begun
    versions.begin(4)
    versions.require()
    for _ in range(2):
        versions.bring([starting, up], 0.0, 60)
    assert sent == [(up.actor, 4)] and up.calls["ref 1"].limit_s == 60
    up.complete("ref 1")
    up.health.verified(4, 1.0)
    versions.bring([starting, up], 1.0, 60)
    assert len(sent) == 1
    versions.begin(5)
    versions.bring([starting, up], 1.0, 60)
    assert sent[1:] == [(up.actor, 5)]


def test_an_update_to_another_version_than_the_current_one_is_superseded():
    versions = Versions("rollout", lambda actor, version: None, NO_WEIGHTS)
    versions.begin(4)
    call = Call("update", 0.0, version=4)
    assert not versions.superseded(call)
    versions.cancel()
    assert versions.superseded(call) and versions.current is None
    assert not versions.superseded(Call("work", 0.0))
