"""Joining a cluster: what is refused before any worker starts."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.errors import UserError


def test_nodes_of_one_machine_that_share_a_jobs_code_are_refused():
    from cluster.control.ray_connection import check_code

    def node(address, folder, alive=True):
        return {"NodeManagerAddress": address, "RayletSocketName": f"{folder}/session_1/sockets/raylet", "Alive": alive}

    here = Path("/tmp/ray/session_1/runtime_resources/working_dir_files/_ray_pkg_0")
    shared = [node("10.0.0.1", "/tmp/ray"), node("10.0.0.1", "/tmp/ray"), node("10.0.0.2", "/tmp/ray")]
    with pytest.raises(UserError, match="2 nodes on 10.0.0.1 share /tmp/ray, .* --temp-dir=/tmp/ray-2"):
        check_code(here, shared)
    check_code(Path.cwd(), shared)  # nothing is unpacked over code that did not come with a job
    check_code(
        here, [node("10.0.0.1", "/tmp/ray"), node("10.0.0.1", "/tmp/ray-2"), node("10.0.0.1", "/tmp/ray", alive=False)]
    )


def test_what_the_cluster_can_never_hold_is_told_at_once(ray_session):
    from actors.learner.config import LearnerConfig
    from actors.reward import RewardWorkersConfig
    from actors.rollout.config import RolloutConfig
    from cluster.control.ray_connection import check_fits

    roles = {"rollout": RolloutConfig(cpus=4), "reward": RewardWorkersConfig(), "learner": LearnerConfig(cpus=4)}
    with pytest.raises(UserError, match="all workers together need 8.25 CPU, it has at most 4"):
        check_fits(roles)
    check_fits(roles | {"learner": LearnerConfig(cpus=1), "rollout": RolloutConfig(cpus=2)})
    with pytest.raises(
        UserError, match="learner.min_workers: no node of this cluster offers the custom resource learner"
    ):
        check_fits({"learner": LearnerConfig(workers=9, min_workers=1)})


def test_a_machine_that_cannot_start_ray_says_why_and_how_busy_it_is(monkeypatch):
    import ray

    from cluster.control.ray_connection import join

    def late(*_, **options):
        raise Exception("The current node timed out during startup. This could happen because …")

    monkeypatch.setattr(ray, "init", late)
    monkeypatch.setattr("os.getloadavg", lambda: (900.0, 0.0, 0.0))
    with pytest.raises(UserError, match="Ray does not start on this machine: The current node timed out") as busy:
        join(None)
    assert "900 processes want its" in str(busy.value) and "\n" not in str(busy.value)
    monkeypatch.setattr("os.getloadavg", lambda: (0.1, 0.0, 0.0))
    with pytest.raises(UserError, match="timed out during startup$"):
        join(None)


AFTER_RAY = """
import os, signal, time
from cluster.control.ray_connection import join, leave
from cluster.signals import Signals
with Signals() as signals:
    join(None, include_dashboard=False, num_cpus=1)
    leave()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    except KeyboardInterrupt:
        signals.exit(signals.code)
"""


def test_a_signal_that_comes_after_rays_end_still_ends_the_command_in_order():
    ended = subprocess.run([sys.executable, "-c", AFTER_RAY], timeout=120)
    assert ended.returncode == 128 + signal.SIGTERM
