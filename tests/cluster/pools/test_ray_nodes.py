"""What Ray knows of nodes."""

import ray

from cluster.pools.ray_nodes import draining_nodes, node_address


def test_the_address_of_a_node_and_nothing_for_one_that_is_gone(ray_session):
    (node,) = (node for node in ray.nodes() if node["Alive"])
    assert node_address(node["NodeID"]) == ray.util.get_node_ip_address()
    assert node_address("0" * 56) == "" and draining_nodes() == set()
