"""Facts about this machine for `curlvpr doctor`: measured, not judged."""

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

PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "peft",
    "ray",
    "deepspeed",
    "vllm",
)  # each imports what stands before it
IMPORT_SECONDS = 300
CODE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Gpu:
    name: str
    memory: int


@dataclass(frozen=True)
class Package:
    """What is installed, and what importing it gave.

    Attributes:
        version: None where the package is not installed.
        wanted: versions that this project declares, such as "==2.60.0".
        error: the exception of the import, in one line.
        late: the import did not end in time.
        build: "cpu", "cuda", "cu130" or None, where that cannot be told.
    """

    version: str | None
    wanted: str = ""
    error: str | None = None
    late: bool = False
    build: str | None = None


@dataclass(frozen=True)
class Disk:
    """Of the file system that `path` is, or will be, on. Bytes; `device` tells two file systems apart."""

    path: Path
    free: int
    total: int
    device: int


@dataclass(frozen=True)
class Machine:
    """Bytes, unless said otherwise.

    Attributes:
        tools: what kernels for GPUs are compiled with → whether it is there.
        driver: version of the NVIDIA driver, None where there is none.
        gpu_error: why torch, built for CUDA, cannot use GPUs.
        cpus, memory: what this process may use, container limits included.
        open_files: the hard limit, up to which Ray raises its own.
        run_disk, ray_disk: where run folders and Ray's temporary files go.
        cluster: resources of the cluster that RAY_ADDRESS names, None where it names none.
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
        """Whether runs go to a cluster that RAY_ADDRESS names, and not to this machine."""
        return self.cluster is not None or self.cluster_error is not None


def measure(root: Path) -> Machine:
    """All facts; imports packages in a process of their own. `root` is where run folders go, and need not exist."""
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


def probe(names: Sequence[str], seconds: float) -> dict[str, dict]:
    """What `cluster.control.probe` answers for each name.

    One that takes the process down gets an "error"; one that is at work when `seconds` are over is "late" and gets one too.
    Those behind it are tried again without it.
    """
    answers: dict[str, dict] = {}
    path = os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")]))
    while rest := [name for name in names if name not in answers]:
        # -P: no folder of the user's is searched, where a file may have a package's name.
        command = [sys.executable, "-P", "-m", "cluster.control.probe", *rest]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=seconds,
                env=os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
            )
            out, fault = done.stdout, {"error": f"it ended the process with {_how(done.returncode)}"}
        except subprocess.TimeoutExpired as error:
            out, fault = (error.stdout or b"").decode(), {"error": f"no end within {seconds:g} s", "late": True}
        for line in out.splitlines():
            answer = json.loads(line)
            answers[answer.pop("name")] = answer
        late = next((name for name in rest if name not in answers), None)
        if late is not None:
            answers[late] = fault
    return answers


def disk(path: Path) -> Disk:
    """The file system of `path`, or of the nearest folder above it that exists."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    usage = shutil.disk_usage(there)
    return Disk(path, usage.free, usage.total, there.stat().st_dev)


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _packages(answers: Mapping[str, dict]) -> dict[str, Package]:
    wanted, packages = _wanted(), {}
    for name in PACKAGES:
        distribution = next((d for d in (name, f"{name}-cpu") if _version(d)), name)
        version, answer = _version(distribution), answers[name]
        build = answer.get("build")
        if name == "vllm" and version:
            build = "cpu" if "cpu" in distribution + version else "cuda"
        packages[name] = Package(version, wanted.get(name, ""), answer.get("error"), answer.get("late", False), build)
    return packages


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _wanted() -> dict[str, str]:
    """Package → versions that this project (for torch: that torchvision) declares, such as "==2.60.0"."""
    wanted = {}
    for owner in ("curlvpr", "torchvision"):
        try:
            requirements = importlib.metadata.requires(owner) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # the code may have come with a Ray job
        for text in requirements:
            name, versions = re.match(r"([\w-]+)(?:\[.*?\])?\s*\(?([^;)]*)", text).groups()
            wanted.setdefault(name.removesuffix("-cpu"), versions.strip())
    return wanted


def _tools() -> dict[str, bool]:
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return {"gcc": shutil.which("gcc") is not None, "Python.h": headers.is_file()}


def gpu_driver() -> str | None:
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


def usable_cpus() -> float:
    cores = float(len(os.sched_getaffinity(0)))
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    return min(cores, int(quota) / int(period)) if quota.isdigit() else cores


def usable_memory() -> int:
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = (_read(f"/sys/fs/cgroup/{name}") for name in ("memory.max", "memory/memory.limit_in_bytes"))
    return min([there, *(int(limit) for limit in limits if limit.isdigit())])


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
