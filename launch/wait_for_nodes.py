"""Waits until the Ray cluster of RAY_ADDRESS has as many nodes as it should: python launch/wait_for_nodes.py NODES

One of them runs on this machine. Ends with 1 and a line if they have not all joined within ten minutes.
"""

import os
import sys
import time

import ray

LIMIT_S = 600


def joined() -> int:
    """How many nodes there are; 0 if the cluster does not answer yet."""
    try:
        ray.init(os.environ["RAY_ADDRESS"], logging_level="CRITICAL", log_to_driver=False)
    except (ConnectionError, RuntimeError):  # the head, or the node of this machine, is still starting
        return 0
    try:
        return sum(node["Alive"] for node in ray.nodes())
    finally:
        ray.shutdown()


if __name__ == "__main__":
    wanted, deadline = int(sys.argv[1]), time.monotonic() + LIMIT_S
    nodes = joined()
    while nodes < wanted:
        if time.monotonic() > deadline:
            sys.exit(f"{nodes} of {wanted} nodes have joined {os.environ['RAY_ADDRESS']} within {LIMIT_S} s")
        time.sleep(1)
        nodes = joined()
