"""What `ps` calls an actor's process."""

import sys
from pathlib import Path

import ray

from actors.runtime.process_title import set_title

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test


class Worker:
    def rename(self, title):
        set_title(title)

    def process_title(self):
        return Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode()


def test_an_actors_process_has_its_title_from_the_next_call_on(ray_session):
    worker = ray.remote(Worker).options(num_cpus=0.01).remote()
    before = ray.get(worker.process_title.remote(), timeout=60)
    ray.get(worker.rename.remote("rollout-3 v17"), timeout=60)
    after = ray.get(worker.process_title.remote(), timeout=60)
    ray.kill(worker)
    assert before.startswith("ray::Worker") and after.startswith("ray::rollout-3 v17")
