"""What `ps` calls an actor's process."""

import os
import sys

import psutil
import ray

from actors.runtime.process_title import set_title
from tests.support.short_run import wait_until

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test


class Worker:
    def rename(self, title):
        set_title(title)

    def pid(self):
        return os.getpid()


def test_an_actors_process_has_its_title_after_the_next_call(ray_session):
    worker = ray.remote(Worker).options(num_cpus=0.01).remote()
    process = psutil.Process(ray.get(worker.pid.remote(), timeout=60))
    wait_until(lambda: process.cmdline()[0].startswith("ray::Worker"), seconds=30)
    ray.get(worker.rename.remote("rollout-3 v17"), timeout=60)
    ray.get(worker.pid.remote(), timeout=60)
    wait_until(lambda: process.cmdline()[0].startswith("ray::rollout-3 v17"), seconds=30)
    ray.kill(worker)
