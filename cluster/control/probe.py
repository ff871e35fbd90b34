"""Imports packages in a process of its own, which may fail, hang or crash without harm.

Started as `python -m cluster.control.probe NAME…`. Writes one line of JSON to standard output for each name, in order.
The names "cluster" and "nodes" are not packages: for them the process joins the cluster of RAY_ADDRESS.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from cluster.errors import error_line, first_sentence, one_line


def main(names: list[str]) -> None:
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the packages print must not mix with the answers
    for name in names:
        print(json.dumps({"name": name} | _answer(name)), file=output, flush=True)


def _answer(name: str) -> dict[str, Any]:
    try:
        if name == "cluster":
            from cluster.control.ray_connection import cluster_limits

            return {"limits": _with_ray(cluster_limits)}
        if name == "nodes":
            return _with_ray(_nodes)
        module = importlib.import_module(name)
        return DETAILS[name](module) if name in DETAILS else {}
    except BaseException as error:  # noqa: BLE001 - a broken package may raise anything; the answer reports it
        kind = type(error).__name__
        if kind == "AuthenticationError":  # Ray's, with long advice after the first sentence
            return {"error": f"{kind}: {first_sentence(error)}"}
        return {"error": error_line(error)[:500]}


def _torch(torch: Any) -> dict[str, Any]:
    if not torch.version.cuda:
        return {"build": "cpu"}
    gpus, fault = [], None
    try:
        torch.cuda.init()
        properties = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        gpus = [{"name": gpu.name, "memory": gpu.total_memory} for gpu in properties]
    except Exception as error:  # noqa: BLE001 - torch's text says what is wrong with the driver
        fault = one_line(error)[:500]
    return {"build": f"cu{torch.version.cuda.replace('.', '')}", "gpus": gpus, "gpu_error": fault}


def _torchvision(torchvision: Any) -> dict[str, Any]:
    return {"build": torchvision.__version__.partition("+")[2] or None}


def _vllm(_: Any) -> dict[str, Any]:
    importlib.import_module("vllm.platforms").current_platform  # noqa: B018 - reading it makes vLLM find the platform
    return {}


def _with_ray(query: Callable[[], Any]) -> Any:
    """The result of `query`, called while this process is connected to the cluster of RAY_ADDRESS."""
    import ray

    address = os.environ["RAY_ADDRESS"]
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():  # if nobody answers there, Ray itself would wait for minutes
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")  # with an address, Ray starts no cluster
    try:
        return query()
    finally:
        ray.shutdown()


def _nodes() -> dict[str, Any]:
    """The nodes of the joined cluster, and the groups from which Ray's autoscaler may start more.

    Returns:
        "nodes": for each node its address, resources, and the bytes of its smallest GPU (None if unknown).
        "groups": for each group its resources per node, and the maximum number of nodes.
    """
    import ray
    from ray._private.state import state
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = [node for node in ray.nodes() if node["Alive"]]
    # This module runs as a script, so the function travels with the task: nodes need not have the code.
    task = ray.remote(num_cpus=0, max_retries=0)(_gpu_bytes)
    queries = {}
    for node in alive:
        if node["Resources"].get("GPU"):
            on_node = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            queries[node["NodeID"]] = task.options(scheduling_strategy=on_node).remote()
    if queries:
        ray.wait(list(queries.values()), num_returns=len(queries), timeout=60)
    nodes = [
        {
            "name": node["NodeManagerAddress"],
            "resources": node["Resources"],
            "gpu_bytes": _result(queries.get(node["NodeID"])),
        }
        for node in alive
    ]
    config = state.get_cluster_config()
    groups = [
        {"name": group.name, "resources": dict(group.resources), "most": group.max_count}
        for group in (config.node_group_configs if config else ())
    ]
    return {"nodes": nodes, "groups": groups}


def _gpu_bytes() -> int:
    """The memory of this node's smallest GPU."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
    return min(int(line) for line in output.split()) * 2**20


def _result(query: Any) -> int | None:
    """The result of a finished task; None if there was none, it failed, or it did not finish."""
    import ray

    if query is None:
        return None
    try:
        return ray.get(query, timeout=0)
    except Exception:  # noqa: BLE001 - no nvidia-smi, no result yet, or the node is gone
        return None


DETAILS = {"torch": _torch, "torchvision": _torchvision, "vllm": _vllm}

if __name__ == "__main__":
    main(sys.argv[1:])
