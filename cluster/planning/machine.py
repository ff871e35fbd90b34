"""Measures this machine for `curlvpr doctor`, and judges nothing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curriculum.sets.cores import usable_cpus

PACKAGES = ("torch", "torchvision", "transformers", "peft", "ray", "deepspeed", "vllm")
"""The packages to import, in this order: each imports some before it."""
IMPORT_SECONDS = 300
CODE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Gpu:
    name: str
    memory: int


@dataclass(frozen=True)
class Package:
    """An installed package, and what importing it gave.

    Attributes:
        version: None if the package is not installed.
        wanted: versions that this project declares, such as "==2.60.0".
        error: the exception of the import in one line.
        timed_out: whether the import took too long.
        build: "cpu", "cuda", "cu130", or None if unknown.
    """

    version: str | None
    wanted: str = ""
    error: str | None = None
    timed_out: bool = False
    build: str | None = None


@dataclass(frozen=True)
class Disk:
    """The file system that `path` is on, or will be on. Sizes in bytes; `device` differs between file systems."""

    path: Path
    free: int
    total: int
    device: int


@dataclass(frozen=True)
class Machine:
    """Facts about a machine. Sizes are in bytes.

    Attributes:
        tools: what compiles kernels for GPUs, and whether it is installed.
        driver: version of the NVIDIA driver; None if there is none.
        gpu_error: why torch, although built for CUDA, cannot use GPUs.
        cpus, memory: what this process may use, container limits included.
        open_files: the hard limit; Ray raises its own limit up to it.
        run_disk, ray_disk: where run folders and Ray's temporary files go.
        cluster: resources of the cluster that RAY_ADDRESS names; None if it names none.
        cluster_error: why that cluster could not be joined.
    """

    python: tuple[int, int]
    packages: Mapping[str, Package]
    tools: Mapping[str, bool]
    driver: str | None
    gpus: tuple[Gpu, ...]
    gpu_error: str | None
    cpus: float
    memory: int
    shm: Disk
    open_files: int
    run_disk: Disk
    ray_disk: Disk
    cluster: Mapping[str, float] | None
    cluster_error: str | None

    @property
    def joins(self) -> bool:
        """Whether runs go to the cluster that RAY_ADDRESS names, rather than to this machine."""
        return self.cluster is not None or self.cluster_error is not None


def measure(root: Path) -> Machine:
    """All facts. Imports packages in a process of their own. `root` is where run folders go; it need not exist."""
    answers = probe([*PACKAGES, *(["cluster"] if names_cluster() else [])], IMPORT_SECONDS)
    cluster = answers.get("cluster", {})
    return Machine(
        python=sys.version_info[:2],
        packages=_packages(answers),
        tools=_tools(),
        driver=gpu_driver(),
        gpus=tuple(Gpu(**gpu) for gpu in answers["torch"].get("gpus", ())),
        gpu_error=answers["torch"].get("gpu_error"),
        cpus=usable_cpus(),
        memory=usable_memory(),
        shm=disk(Path("/dev/shm")),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        run_disk=disk(root),
        ray_disk=disk(Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray"),
        cluster=cluster.get("limits"),
        cluster_error=cluster.get("error"),
    )


def names_cluster() -> bool:
    """Whether RAY_ADDRESS names a cluster that runs go to."""
    return os.environ.get("RAY_ADDRESS", "") not in ("", "local")


def probe(names: Sequence[str], seconds: float) -> dict[str, dict[str, Any]]:
    """The answers of `cluster.control.probe`, by name.

    A name that takes the process down gets an "error". One that has not ended after `seconds` gets an "error" and
    "timed_out". The names after it are tried again without it.
    """
    answers: dict[str, dict[str, Any]] = {}
    path = os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")]))
    rest = list(names)
    while rest:
        # -P: the user's folders are not searched; a file there may have the name of a package.
        command = [sys.executable, "-P", "-m", "cluster.control.probe", *rest]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=seconds,
                env=os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
            )
            out = done.stdout
            fault: dict[str, Any] = {"error": f"it ended the process with {_how(done.returncode)}"}
        except subprocess.TimeoutExpired as error:
            out = (error.stdout or b"").decode()
            fault = {"error": f"not finished within {seconds:g} s", "timed_out": True}
        for line in out.splitlines():
            answer = json.loads(line)
            answers[answer.pop("name")] = answer
        unanswered = [name for name in rest if name not in answers]
        if unanswered:
            answers[unanswered[0]] = fault
        rest = unanswered[1:]
    return answers


def disk(path: Path) -> Disk:
    """The file system of `path`, or of the nearest folder above it that exists."""
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    usage = shutil.disk_usage(existing)
    return Disk(path, usage.free, usage.total, existing.stat().st_dev)


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _packages(answers: Mapping[str, dict[str, Any]]) -> dict[str, Package]:
    wanted, packages = _wanted(), {}
    for name in PACKAGES:
        distribution = next((d for d in (name, f"{name}-cpu") if _version(d)), name)
        version, answer = _version(distribution), answers[name]
        build = answer.get("build")
        if name == "vllm" and version:
            build = "cpu" if "cpu" in distribution + version else "cuda"
        timed_out = answer.get("timed_out", False)
        packages[name] = Package(version, wanted.get(name, ""), answer.get("error"), timed_out, build)
    return packages


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _wanted() -> dict[str, str]:
    """Package → versions that this project (for torch: that torchvision) declares, such as "==2.60.0"."""
    wanted: dict[str, str] = {}
    for owner in ("curlvpr", "torchvision"):
        try:
            requirements = importlib.metadata.requires(owner) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # the code may have come with a Ray job
        for text in requirements:
            parts = re.match(r"([\w-]+)(?:\[.*?\])?\s*\(?([^;)]*)", text)
            if parts:
                wanted.setdefault(parts[1].removesuffix("-cpu"), parts[2].strip())
    return wanted


def _tools() -> dict[str, bool]:
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return {"gcc": shutil.which("gcc") is not None, "Python.h": headers.is_file()}


def gpu_driver() -> str | None:
    """Version of the NVIDIA driver; None if none answers."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.split()[0] if done.returncode == 0 and done.stdout.split() else None


def usable_memory() -> int:
    """Bytes of RAM that this process may use: the machine's, or the container's limit."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [_read(f"/sys/fs/cgroup/{name}") for name in ("memory.max", "memory/memory.limit_in_bytes")]
    return min([installed, *(int(limit) for limit in limits if limit.isdigit())])


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
