"""The nodes that a run may use: those of the cluster that RAY_ADDRESS names, this machine, or described ones."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from actors.model.flops.gpus import PEAKS, peak_of
from cluster.errors import TOKEN_ADVICE, UserError
from cluster.planning.machine import IMPORT_SECONDS, gpu_driver, names_cluster, probe, usable_memory
from cluster.planning.worker_memory import GIB
from curriculum.sets.cores import usable_cpus

FORM = (
    "NODESxGPUSxGIB[,gpu=NAME][,cpus=N][,ram=GIB][,learner=N], each number for one node, such as "
    "2x8x80,gpu=H100,cpus=96,ram=1024, or 1x0,cpus=32"
)
GROUP_LIMIT = 64  # nodes assumed for a group of the autoscaler that has no limit
SETTINGS = ("cpus", "ram", "learner")  # numbers
GPU_KIND = "accelerator_type:"  # the resource by which Ray names a node's GPUs


@dataclass(frozen=True)
class Node:
    """A node with the resources it offers.

    Attributes:
        cpus: infinite if not stated.
        gpu_bytes: memory of each of its GPUs; None if unknown or without GPUs.
        gpu: what its GPUs are called; None if unknown.
        ram: bytes; None if unknown.
        learner: amount of the custom resource `learner`.
    """

    name: str
    cpus: float
    gpus: int = 0
    gpu_bytes: float | None = None
    ram: float | None = None
    learner: float = 0
    gpu: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"cpus": None if math.isinf(self.cpus) else self.cpus}


def find_nodes(described: Sequence[str]) -> tuple[str, list[Node]]:
    """The nodes to plan for: the described ones, else those of RAY_ADDRESS, else this machine.

    Returns:
        What the nodes are, in words; and the nodes.

    Raises:
        UserError: a description cannot be read, or the cluster cannot be joined.
    """
    if described:
        return f"the cluster {' + '.join(described)}", parse_nodes(described)
    if names_cluster():
        answer = probe(["nodes"], IMPORT_SECONDS)["nodes"]
        if "error" in answer:
            raise UserError(
                f"the cluster of RAY_ADDRESS={os.environ['RAY_ADDRESS']} cannot be joined: {answer['error']}; "
                f"{TOKEN_ADVICE}; --cluster describes a cluster that does not exist yet"
            )
        return "the cluster of RAY_ADDRESS", nodes_of(answer["nodes"], answer["groups"])
    return "this machine", [this_machine()]


def parse_nodes(described: Sequence[str]) -> list[Node]:
    """The nodes of `--cluster`. Raises UserError."""
    nodes: list[Node] = []
    for text in described:
        first, *settings = [part.strip() for part in text.split(",")]
        size_match = re.fullmatch(r"(\d+)\s*[x×]\s*(\d+)(?:\s*[x×]\s*(\d+(?:\.\d+)?))?", first)
        values = {name: value for name, _, value in (setting.partition("=") for setting in settings)}
        if not size_match or not int(size_match[1]) or len(values) < len(settings):
            raise UserError(f"--cluster {text}: is no description of nodes; it is written {FORM}")
        count, gpus, size = int(size_match[1]), int(size_match[2]), float(size_match[3] or 0)
        if bool(gpus) != bool(size):
            fault = "the GiB of a GPU are missing" if gpus else "GiB of a GPU are given, but no GPU"
            raise UserError(f"--cluster {text}: {fault}; it is written {FORM}")
        gpu = values.pop("gpu", None)
        if gpu is not None and peak_of(gpu) is None:
            raise UserError(f"--cluster {text}: gpu is {gpu!r}; known are {', '.join(PEAKS)}")
        numbers = {name: _number(text, name, value) for name, value in values.items()}
        ram = numbers.get("ram")
        node = Node(
            "",
            numbers.get("cpus", math.inf),
            gpus,
            size * GIB if gpus else None,
            ram * GIB if ram else None,
            numbers.get("learner", 0),
            gpu,
        )
        nodes += [replace(node, name=f"node {len(nodes) + i + 1}") for i in range(count)]
    return nodes


def nodes_of(nodes: Sequence[Mapping[str, Any]], groups: Sequence[Mapping[str, Any]]) -> list[Node]:
    """The nodes that a joined cluster has or that its autoscaler may add, from the answer of `cluster.control.probe`.

    A node that exists counts as one of the first group that offers the same CPUs and GPUs.
    """
    names = [node["name"] for node in nodes]
    known = []
    for index, node in enumerate(nodes):
        name = names[index]
        if names.count(name) > 1:  # several nodes on one machine may have the same name
            name = f"{name} ({names[:index].count(name) + 1})"
        known.append(_node(name, node["resources"], node["gpu_bytes"]))
    ungrouped = [(node.cpus, node.gpus) for node in known]
    for group in groups:
        like = _node(group["name"], group["resources"], None)
        max_nodes = GROUP_LIMIT if group["most"] < 0 else group["most"]
        offer = (like.cpus, like.gpus, like.learner)
        alike = [node for node in known if (node.cpus, node.gpus, node.learner) == offer]
        size = min((node.gpu_bytes for node in alike if node.gpu_bytes), default=None)
        for number in range(max_nodes):
            if (like.cpus, like.gpus) in ungrouped:
                ungrouped.remove((like.cpus, like.gpus))
            else:
                known.append(replace(like, name=f"{like.name} {number + 1}, to come", gpu_bytes=size))
    return known


def this_machine() -> Node:
    """This machine as a node. If there is a GPU driver, imports torch in another process to see the GPUs."""
    gpus = probe(["torch"], IMPORT_SECONDS)["torch"].get("gpus", []) if gpu_driver() else []
    return Node(
        "this machine",
        float(math.floor(usable_cpus())),
        len(gpus),
        min((gpu["memory"] for gpu in gpus), default=None),
        usable_memory(),
        gpu=gpus[0]["name"] if gpus else None,
    )


def _node(name: str, resources: Mapping[str, float], gpu_bytes: float | None) -> Node:
    ram = resources.get("memory", 0) + resources.get("object_store_memory", 0)
    gpus = [kind.removeprefix(GPU_KIND) for kind in resources if kind.startswith(GPU_KIND)]
    return Node(
        name,
        float(resources.get("CPU", 0)),
        int(resources.get("GPU", 0)),
        gpu_bytes,
        ram or None,
        resources.get("learner", 0),
        gpus[0] if len(gpus) == 1 else None,
    )


def _number(text: str, name: str, value: str) -> float:
    if name not in SETTINGS:
        raise UserError(f"--cluster {text}: {name!r} is unknown; known are {', '.join(SETTINGS)} and gpu")
    try:
        number = float(value)
    except ValueError:
        number = 0
    if not 0 < number < math.inf:
        raise UserError(f"--cluster {text}: {name} is {value!r}; a positive number is needed")
    return number
