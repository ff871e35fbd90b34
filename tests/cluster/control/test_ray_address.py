"""Which cluster is joined, and addresses at which none answers."""

import socket
import time

import pytest

from cluster.control import ray_address
from cluster.control.ray_address import check_answers, cluster_to_join, describe_cluster, raylets
from cluster.errors import UserError


@pytest.fixture
def no_cluster_here(monkeypatch, tmp_path):
    """This machine, if nobody had called `ray start` on it."""
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda: None)


@pytest.fixture
def dead_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"127.0.0.1:{port}"


@pytest.mark.parametrize("named", ["", "local"])
def test_a_command_starts_its_own_where_none_was_started(named, no_cluster_here, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", named)
    assert cluster_to_join() is None


@pytest.mark.parametrize(
    "named, fault",
    [
        ("auto", "RAY_ADDRESS=auto: no Ray cluster was started here by `ray start`"),
        ("ray://head:10001", "a run takes part in its cluster, which Ray's client cannot"),
        ("head", "RAY_ADDRESS=head is no address"),
        ("http://head:8265", "does not answer"),
        ("head:sixty", "is no address"),
        ("127.0.0.1:70000", "is no address"),
    ],
)
def test_what_names_no_cluster_is_refused(named, fault, no_cluster_here, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", named)
    with pytest.raises(UserError, match=fault) as refused:
        cluster_to_join()
    assert "\n" not in str(refused.value)


def test_a_stale_address_is_told_with_what_forgets_it(dead_port, monkeypatch):
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda: dead_port)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match=f"at {dead_port}, does not answer .*`ray stop` forgets it"):
        cluster_to_join()


def test_something_else_that_listens_is_no_cluster(monkeypatch):
    monkeypatch.setattr(ray_address, "ANSWER_S", 0.5)
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match="RAY_ADDRESS is no Ray cluster, although something answers there"):
            check_answers(address, "RAY_ADDRESS", "advice")
    assert time.monotonic() - began < 5


def test_a_cluster_answers_and_one_without_a_node_here_is_refused(ray_session, monkeypatch):
    import ray

    address = ray.get_runtime_context().gcs_address
    check_answers(address, "RAY_ADDRESS", "advice")
    assert any(raylets())
    line = describe_cluster(address, {"CPU": 4.0, "GPU": 0.0}, 1)
    assert line.startswith(f"joins the Ray cluster at {address}, which ") and line.endswith("h ago: 1 node, 4 CPUs")
    monkeypatch.setattr(ray_address, "bears_mark", lambda process: True)  # it belongs to a command alone
    with pytest.raises(UserError, match="no node of that cluster runs on this machine"):
        check_answers(address, "RAY_ADDRESS", "advice")
