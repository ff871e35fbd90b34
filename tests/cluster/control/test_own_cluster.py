"""What a dead command left is found by its mark and ended; real processes, of which some outlive their parent."""

import os
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from cluster.control import own_cluster
from cluster.control.own_cluster import bears_mark, end_what_is_left, left_processes, marked, own_processes
from tests.support.short_run import wait_until

COMMAND = """
import subprocess, sys, time
from cluster.control import own_cluster
own_cluster.MARK = sys.argv[2]
with own_cluster.marked():
    child = subprocess.Popen(["sleep", sys.argv[1]], start_new_session=True)
other = subprocess.Popen(["sleep", "60"], start_new_session=True)
print(child.pid, other.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def dead_command(monkeypatch):
    """Starts a command whose cluster is one process, and kills it; returns that process, and one without the mark.

    The mark has a name of its own: other tests, which run beside these, kill commands, too.
    """
    monkeypatch.setattr(own_cluster, "MARK", "TEST_OF_OWN_CLUSTER")
    started = []

    def make(lives_s):
        arguments = [sys.executable, "-c", COMMAND, str(lives_s), own_cluster.MARK]
        command = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        child, other = map(psutil.Process, map(int, command.stdout.readline().split()))
        started.extend([child, other])
        assert bears_mark(child) and child not in left_processes()  # its owner is alive
        command.kill()
        return child, other, command

    yield make
    for process in started:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def test_what_stays_is_ended_with_a_line_and_nothing_else_is(dead_command, monkeypatch):
    monkeypatch.setattr(own_cluster, "BY_ITSELF_S", 0.2)
    child, other, command = dead_command(60)
    wait_until(lambda: child in left_processes(), 10)  # although nobody has read its owner's exit code yet
    command.wait()
    lines = []
    end_what_is_left(lines.append)
    assert not psutil.pid_exists(child.pid) or child.status() == psutil.STATUS_ZOMBIE
    assert other.is_running()
    (line,) = lines
    assert line.startswith("waited ") and line.endswith(
        "for 1 processes of a Ray cluster whose command was killed, and ended 1 of them"
    )
    end_what_is_left(lines.append)
    assert len(lines) == 1


def test_what_ends_by_itself_is_waited_for(dead_command):
    dead_command(1.5)
    wait_until(left_processes, 10)
    lines = []
    began = time.monotonic()
    end_what_is_left(lines.append)
    assert time.monotonic() - began < own_cluster.BY_ITSELF_S
    assert len(lines) == 1 and "ended" not in lines[0]


def test_a_process_knows_its_own_and_leaves_no_mark_in_itself():
    with marked():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    assert own_cluster.MARK not in os.environ
    for _ in range(100):  # until it has its environment
        if own := own_processes():
            break
        time.sleep(0.05)
    assert [process.pid for process in own] == [child.pid]
    own_cluster.end_own_cluster()
    assert child.wait(10) < 0


BREEDS = """
import subprocess
for _ in range(400):
    subprocess.Popen(["sleep", "60"])
"""


def test_what_a_worker_starts_while_it_is_killed_is_ended_as_well(monkeypatch):
    monkeypatch.setattr(own_cluster, "MARK", "TEST_OF_OWN_CLUSTER")
    for _ in range(5):
        with marked():
            worker = subprocess.Popen([sys.executable, "-c", BREEDS])
        wait_until(lambda: len(own_processes()) > 3, 10)
        own_cluster.kill_own_workers()
        worker.wait(10)
        wait_until(lambda: not own_processes(), 5)
