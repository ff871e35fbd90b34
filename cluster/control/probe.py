"""Imports packages in a process of its own, which may fail, hang or crash without harm: `python -m cluster.control.probe NAME…`.

One line of JSON for each name, in order, on standard output; "cluster" and "nodes" stand for joining the cluster of
RAY_ADDRESS.
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


def main(names: list[str]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the packages print themselves is no answer
    for name in names:
        print(json.dumps({"name": name} | _answer(name)), file=answers, flush=True)


def _answer(name: str) -> dict[str, Any]:
    try:
        if name == "cluster":
            from cluster.control.ray_connection import cluster_limits

            return {"limits": _joined(cluster_limits)}
        if name == "nodes":
            return _joined(_nodes)
        module = importlib.import_module(name)
        return DETAILS[name](module) if name in DETAILS else {}
    except BaseException as error:  # noqa: BLE001 - a broken package may raise anything; it is told, not raised
        return {"error": f"{type(error).__name__}: {_one_line(error)}"}


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if type(error).__name__ == "AuthenticationError":  # Ray's; what follows is advice, at length
        return lines[0].split(". ")[0]
    return " ".join(lines)[:500]


def _torch(torch: Any) -> dict[str, Any]:
    if not torch.version.cuda:
        return {"build": "cpu"}
    gpus, error = [], None
    try:
        torch.cuda.init()
        properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        gpus = [{"name": p.name, "memory": p.total_memory} for p in properties]
    except Exception as fault:  # noqa: BLE001 - torch says itself what is wrong with the driver
        error = _one_line(fault)
    return {"build": f"cu{torch.version.cuda.replace('.', '')}", "gpus": gpus, "gpu_error": error}


def _torchvision(torchvision: Any) -> dict[str, Any]:
    return {"build": torchvision.__version__.partition("+")[2] or None}


def _vllm(_: Any) -> dict[str, Any]:
    importlib.import_module("vllm.platforms").current_platform  # noqa: B018 - it is looked for when it is asked for
    return {}


def _joined(ask: Callable[[], Any]) -> Any:
    """What `ask` answers while the cluster of RAY_ADDRESS is joined."""
    import ray

    address = os.environ["RAY_ADDRESS"]
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():  # Ray itself would wait for minutes where nobody answers
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")  # an address never starts one
    try:
        return ask()
    finally:
        ray.shutdown()


def _nodes() -> dict[str, Any]:
    """Of every node its address, resources, and the bytes of its smallest GPU (None where it does not say); of every group
    that Ray's autoscaler may start nodes of, how many at most, and what each offers."""
    import ray
    from ray._private.state import state
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = [node for node in ray.nodes() if node["Alive"]]
    asked = {}
    for node in alive:
        if node["Resources"].get("GPU"):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            # This module runs as a script, so the function travels with the task: nodes need not have the code.
            asked[node["NodeID"]] = (
                ray.remote(num_cpus=0, max_retries=0)(_gpu_bytes).options(scheduling_strategy=there).remote()
            )
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=60) if asked else None
    config = state.get_cluster_config()
    return {
        "nodes": [
            {
                "name": node["NodeManagerAddress"],
                "resources": node["Resources"],
                "gpu_bytes": _told(asked.get(node["NodeID"])),
            }
            for node in alive
        ],
        "groups": [
            {"name": group.name, "resources": dict(group.resources), "most": group.max_count}
            for group in (config.node_group_configs if config else ())
        ],
    }


def _gpu_bytes() -> int:
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    return (
        min(int(line) for line in subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.split())
        * 2**20
    )


def _told(answer: Any) -> int | None:
    import ray

    try:
        return None if answer is None else ray.get(answer, timeout=0)
    except Exception:  # noqa: BLE001 - no nvidia-smi, no answer, no node any more: it is not known then
        return None


DETAILS = {"torch": _torch, "torchvision": _torchvision, "vllm": _vllm}

if __name__ == "__main__":
    main(sys.argv[1:])
