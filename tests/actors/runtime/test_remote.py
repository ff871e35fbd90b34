"""Waiting for remote work: what each way of failing is called."""

import os
import re
import sys
import time

import pytest
import ray

from actors.runtime.remote import CallFailed, RemoteFailure, cause, ray_failure, wait_for

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test


class Moody:
    def __init__(self, broken=False):
        if broken:
            raise RuntimeError("no such model")

    def add(self, a, b):
        return a + b

    def fail(self):
        raise ValueError("not today")

    def dawdle(self):
        time.sleep(60)

    def die(self):
        os._exit(1)


def test_values_and_failures_of_an_actor(ray_session):
    actor = ray.remote(Moody).options(num_cpus=0.01).remote()
    assert wait_for(actor.add.remote(2, 3), 60, "moody-0") == 5
    with pytest.raises(CallFailed, match=re.escape("moody-0 failed: ValueError('not today')")):
        wait_for(actor.fail.remote(), 60, "moody-0")
    with pytest.raises(RemoteFailure, match=r"^moody-0 did not answer within 0.2 s$") as late:
        wait_for(actor.dawdle.remote(), 0.2, "moody-0")
    assert not isinstance(late.value, CallFailed)
    ray.kill(actor)
    with pytest.raises(RemoteFailure, match="^moody-0 died: ") as dead:
        wait_for(actor.add.remote(2, 3), 60, "moody-0")
    assert not isinstance(dead.value, CallFailed)


def test_an_actor_that_cannot_start_is_reported_with_its_error(ray_session):
    actor = ray.remote(Moody).options(num_cpus=0.01).remote(broken=True)
    with pytest.raises(RemoteFailure, match="^moody-1 could not start: RuntimeError: no such model$"):
        wait_for(actor.add.remote(1, 1), 60, "moody-1")


@pytest.mark.parametrize(
    "error, line",
    [
        (None, "it ended without an error"),
        (RuntimeError("only this"), "only this"),
        (
            RuntimeError("Traceback:\n  ValueError: first\n  frame\nKeyError: 'newest'  \nsee the log\n"),
            "KeyError: 'newest'",
        ),
        (RuntimeError("a\nb\nlast line"), "last line"),
    ],
)
def test_one_line_out_of_many(error, line):
    assert cause(error) == line


MEMORY = """1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.2, ID: 27) \
was 23.88GB used / 24.00GB limit (0.995)
OOM kill reason: Memory usage exceeded threshold
Object store memory usage: [- objects spillable: 0"""
DEAD = "The actor died unexpectedly before finishing this task.\n\tclass_name: A\nThe actor is dead because its {}"


@pytest.mark.parametrize(
    "error, line",
    [
        (
            ray.exceptions.OutOfMemoryError(MEMORY),
            "Ray: its node ran low on memory (23.88GB of 24.00GB used), and Ray's memory monitor ended it",
        ),
        (ray.exceptions.RaySystemError("the store is gone\nframe 1\nframe 2"), "Ray: System error: the store is gone"),
        (
            ray.exceptions.RayActorError(error_msg=DEAD.format("node has died. Worker exit detail: No luck. More.")),
            "Ray: No luck",
        ),
        (
            ray.exceptions.RayActorError(
                error_msg=DEAD.format("worker died. Worker exit detail: It exits with a connection error code 2. EOF.")
            ),
            "Ray: The actor died unexpectedly before finishing this task.",
        ),
        (ValueError("ours"), None),
    ],
)
def test_an_error_of_ray_is_one_line_with_its_cause(error, line):
    assert ray_failure(error) == line


def test_a_plain_exception_that_ray_raises_is_its_own(ray_session):
    with pytest.raises(ValueError) as nowhere:
        ray.get_actor("nowhere")
    assert ray_failure(nowhere.value).startswith("Ray: Failed to look up actor")
