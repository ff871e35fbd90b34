"""The address of a run's cluster: its token mode, and what is done with a damaged or dead one."""

import os
import socket

import pytest

from cluster.control.run_address import find_address, remove_address, write_address
from cluster.errors import UserError


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


def test_an_address_where_nobody_answers_is_none_and_a_damaged_one_is_named(run):
    assert find_address(run) is None
    with socket.create_server(("127.0.0.1", 0)) as server:
        write_address(run, f"127.0.0.1:{server.getsockname()[1]}")
    assert find_address(run) is None  # it was right, and the server has closed
    (run / "ray_address").write_text('{"address": 7}')
    with pytest.raises(UserError, match="ray_address: cannot be read .*remove this file"):
        find_address(run)
    remove_address(run)
    assert find_address(run) is None
