"""Imports packages in a process of its own, which may fail, hang or crash without harm: `python -m cluster.probe NAME…`.

One line of JSON for each name, in order, on standard output; "cluster" stands for joining the cluster of RAY_ADDRESS.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from typing import Any


def main(names: list[str]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the packages print themselves is no answer
    for name in names:
        print(json.dumps({"name": name} | _answer(name)), file=answers, flush=True)


def _answer(name: str) -> dict[str, Any]:
    try:
        if name == "cluster":
            return {"limits": _cluster_limits()}
        module = importlib.import_module(name)
        return DETAILS[name](module) if name in DETAILS else {}
    except BaseException as error:  # noqa: BLE001 - a broken package may raise anything; it is told, not raised
        return {"error": f"{type(error).__name__}: {_one_line(error)}"}


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
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


def _cluster_limits() -> dict[str, float]:
    import ray

    from .ray_cluster import cluster_limits

    address = os.environ["RAY_ADDRESS"]
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():  # Ray itself would wait for minutes where nobody answers
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")  # an address never starts one
    try:
        return cluster_limits()
    finally:
        ray.shutdown()


DETAILS = {"torch": _torch, "torchvision": _torchvision, "vllm": _vllm}

if __name__ == "__main__":
    main(sys.argv[1:])
