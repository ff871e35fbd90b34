"""A cluster that goes away is named: real processes and sockets in place of Ray's."""

import socket
import subprocess
import sys
import threading

import psutil
import pytest

from cluster.control import cluster_watch
from cluster.control.cluster_watch import ClusterWatch


class Lost:
    def __init__(self):
        self.lines, self.called = [], threading.Event()

    def __call__(self, line):
        self.lines.append(line)
        self.called.set()


@pytest.fixture
def raylet(monkeypatch):
    monkeypatch.setattr(cluster_watch, "POLL_S", 0.05)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_process_that_ends_is_named_though_nobody_has_read_its_exit_code(raylet):
    lost = Lost()
    with ClusterWatch("127.0.0.1:1", {"raylet": psutil.Process(raylet.pid)}, "the", lost):
        assert not lost.called.wait(0.3)
        raylet.kill()
        assert lost.called.wait(5)
    assert lost.lines == [f"the Ray cluster, 127.0.0.1:1, is gone: its raylet, process {raylet.pid}, has ended"]


def test_a_head_that_falls_silent_is_given_up_after_a_while(raylet, monkeypatch):
    monkeypatch.setattr(cluster_watch, "CALL_S", 0.1)
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "35.5")
    lost = Lost()
    server = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{server.getsockname()[1]}"
    with ClusterWatch(address, {"raylet": psutil.Process(raylet.pid)}, "the", lost):
        assert not lost.called.wait(1)
        server.close()
        assert lost.called.wait(5)
    assert lost.lines == [f"the Ray cluster, {address}, is gone: its head has not answered for 0.5 s"]


def test_after_the_end_nothing_is_lost(raylet):
    lost = Lost()
    with ClusterWatch("127.0.0.1:1", {"raylet": psutil.Process(raylet.pid)}, "the", lost):
        pass
    raylet.kill()
    assert not lost.called.wait(0.3)
