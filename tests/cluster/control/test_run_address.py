"""The address of a run's cluster: its token mode, and what is done with a damaged or dead one."""

import os
import socket

import pytest

from cluster.control.run_address import find_address, write_address


@pytest.fixture
def run(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x")
    return tmp_path


def test_the_token_mode_of_the_runs_cluster_is_taken_over(run, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        write_address(run, address)
        monkeypatch.delenv("RAY_AUTH_MODE")
        assert find_address(run) == address
        assert os.environ["RAY_AUTH_MODE"] == "token"
