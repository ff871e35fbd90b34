"""The nodes of a plan: described, of a cluster, or this machine."""

import pytest

from cluster.errors import UserError
from cluster.planning.nodes import Node, find_nodes, nodes_of
from cluster.planning.worker_memory import GIB
from tests.support.plans import RECIPES


def test_the_nodes_of_a_cluster_and_those_that_its_autoscaler_may_bring():
    """What Ray answers: the head, one pod of a group of four, nothing of the other."""
    gpu = {"CPU": 8.0, "GPU": 1.0, "learner": 1.0, "memory": 60.0 * GIB, "object_store_memory": 30.0 * GIB}
    nodes = [
        {"name": "10.0.0.1", "resources": {"memory": GIB}, "gpu_bytes": None},
        {"name": "10.0.0.2", "resources": gpu, "gpu_bytes": 80 * GIB},
    ]
    groups = [
        {"name": "learner", "resources": {"CPU": 8, "GPU": 1, "learner": 1}, "most": 4},
        {"name": "reward", "resources": {"CPU": 4}, "most": 2},
    ]
    found = nodes_of(nodes, groups)
    assert len(found) == 2 + 3 + 2 and found[0].cpus == 0
    assert found[1] == Node("10.0.0.2", 8.0, 1, 80 * GIB, 90 * GIB, 1) and found[2].gpu_bytes == 80 * GIB
    assert found[-1].cpus == 4 and found[-1].gpus == 0
    assert [node.name for node in nodes_of([nodes[0], nodes[1], nodes[0]], [])] == [
        "10.0.0.1 (1)",
        "10.0.0.2",
        "10.0.0.1 (2)",
    ]


@pytest.mark.parametrize(
    "cluster, words",
    [
        ("2x8", "2x8: the GiB of a GPU are missing"),
        ("1x0x80", "GiB of a GPU are given, but no GPU"),
        ("0x8x80", "is no description"),
        ("many", "many: is no description of nodes; it is written NODESxGPUSxGIB"),
        ("1x8x80,cpu=3", "'cpu' is unknown; known are"),
        ("1x8x80,cpus=-1", "cpus is '-1'; a positive number is needed"),
        ("1x8x80,cpus=1,cpus=2", "is no description"),
    ],
)
def test_a_wrong_description_is_named(plan_command, cluster, words):
    code, out, err = plan_command(RECIPES / "smoke.yaml", "--cluster", cluster)
    assert code == 2 and not out and words in err and len(err.splitlines()) == 1


def test_a_cluster_that_does_not_answer_is_told_in_one_line(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(UserError, match="RAY_ADDRESS=.* cannot be joined: ConnectionRefusedError.*--cluster describes"):
        find_nodes([])
    assert find_nodes(["1x0,cpus=2"])[1] == [Node("node 1", 2.0)]
