"""What Ray knows of the nodes that workers run on."""

from __future__ import annotations

import ray


def draining_nodes() -> set[str]:
    """Ids of the nodes that will go soon, because the autoscaler or the cloud wants them back."""
    from ray._private.state import state

    return set(state.get_draining_nodes())


def node_address(node_id: str) -> str:
    """The address of a node; "" if it is gone."""
    for node in ray.nodes():
        if node["NodeID"] == node_id:
            return node["NodeManagerAddress"]
    return ""
