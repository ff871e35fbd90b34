"""What could keep a run from working on this machine: facts in, check results out. Each fault comes with advice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from packaging.specifiers import SpecifierSet

from cluster.config.recipe import Recipe
from cluster.errors import TOKEN_ADVICE, UserError
from cluster.planning.footprint import VERSIONS_IN_FLIGHT, Footprint, footprint, missing_resource
from cluster.planning.machine import Machine, measure
from cluster.planning.model_check import remarks_on_models
from cluster.planning.worker_memory import GIB, gib

# How Ray 2.60 sizes its object store by itself (ray._private.utils.resolve_object_store_memory).
STORE_SHARE = 0.3  # of the RAM
STORE_MAX = 200 * 10**9
SHM_SHARE = 0.95  # of what is free in /dev/shm
SHM_MIN = 10 * 10**9
RAY_LOGS = GIB  # in Ray's temporary folder
DISK_FULL = 0.95  # Ray creates no object that would go to a disk fuller than this
OPEN_FILES = 4096  # Ray warns below
SETUP = "make setup (on GPUs: make setup EXTRA=gpu)"
SPREAD_ADVICE = {"learner": "more learner.workers with learner.zero_stage 2 or 3", "rollout": "more rollout.gpus"}
SHM_ADVICE = (
    "give /dev/shm more: --shm-size with docker, an emptyDir of medium Memory in Kubernetes (deploy.yaml has it), "
    "else mount -o remount,size=… /dev/shm"
)


Level = Literal["ok", "warning", "fault"]


@dataclass(frozen=True)
class CheckResult:
    """What one check saw, and what to do about it ("" if nothing)."""

    name: str
    level: Level
    seen: str
    advice: str = ""


def examine(recipe: Recipe | None) -> list[CheckResult]:
    """Measures this machine and judges it, for a recipe if one is given.

    Starts no Ray; takes as long as the imports.
    """
    from cluster.record.run_writer import run_path

    if recipe is None:
        return judge(measure(Path.cwd()), None)
    needs = footprint(recipe)
    remarks: Sequence[str] = ()
    try:
        remarks = remarks_on_models(recipe)
    except UserError as error:
        needs = replace(needs, fault=str(error))
    except ImportError:
        pass  # the checks of packages say what is wrong
    return judge(measure(run_path(recipe, None).parent), needs, remarks)


def judge(machine: Machine, needs: Footprint | None, remarks: Sequence[str] = ()) -> list[CheckResult]:
    """The results of all checks. If runs go to a cluster, their workers need nothing of this machine.

    Args:
        machine: what was measured.
        needs: of a recipe, if one is given.
        remarks: on the recipe's model.
    """
    local = None if machine.joins else needs
    return [
        check_python(machine),
        *(check_package(machine, name) for name in ("torch", "transformers", "peft", "ray", "deepspeed")),
        check_torchvision(machine),
        check_vllm(machine, local),
        check_compiler(machine, local),
        check_gpus(machine, local),
        check_shared_memory(machine, local),
        check_open_files(machine),
        check_memory(machine, local),
        check_run_disk(machine, needs),
        check_ray_disk(machine, local),
        check_workers(machine, needs),
        *([check_model(needs, remarks)] if needs else []),
    ]


def print_findings(findings: Sequence[CheckResult]) -> None:
    """Prints a table, and a last line that sums it up."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    marks = {"ok": Text("ok", "green"), "warning": Text("warning", "yellow"), "fault": Text("fault", "bold red")}
    table = Table("check", "")
    table.add_column("what was seen", overflow="fold")  # a path is of use only if it is whole
    table.add_column("what to do", overflow="fold")
    for finding in findings:
        table.add_row(finding.name, marks[finding.level], Text(finding.seen), Text(finding.advice))
    console = Console(highlight=False)
    console.print(table)
    faults = [finding.name for finding in findings if finding.level == "fault"]
    console.print(
        f"{len(faults)} to fix before a run: {', '.join(faults)}" if faults else "nothing stands in a run's way"
    )


# -- software ---------------------------------------------------------------------------------------------------------


def check_python(machine: Machine) -> CheckResult:
    seen = ".".join(map(str, machine.python))
    if (3, 11) <= machine.python < (3, 13):
        return CheckResult("python", "ok", seen)
    return CheckResult(
        "python", "fault", f"{seen}; 3.11 or 3.12 is needed", "install one of them, then make setup PYTHON=python3.12"
    )


def check_package(machine: Machine, name: str) -> CheckResult:
    package = machine.packages[name]
    if package.timed_out:
        return CheckResult(
            name,
            "warning",
            f"{package.version}; its import takes too long to judge: {package.error}",
            "run the check again when the machine is less busy",
        )
    if package.error:
        seen = f"{package.version} cannot be imported" if package.version else "not installed"
        return CheckResult(name, "fault", f"{seen}: {package.error}", f"remove the environment (.venv), then {SETUP}")
    built = f", built for {package.build}" if package.build else ""
    if package.version and not SpecifierSet(package.wanted).contains(package.version, prereleases=True):
        return CheckResult(name, "warning", f"{package.version}{built}; {package.wanted} is what was tested", SETUP)
    return CheckResult(name, "ok", f"{package.version}{built}")


def check_torchvision(machine: Machine) -> CheckResult:
    finding = check_package(machine, "torchvision")
    torch, vision = machine.packages["torch"].build, machine.packages["torchvision"].build
    if finding.level == "fault" or torch is None or vision in (None, torch):
        return finding
    if torch == "cpu":  # set up this way where only that build is available
        seen = f"{finding.seen}, beside torch for cpu: its Python part, which is enough here"
        return CheckResult("torchvision", finding.level, seen, finding.advice)
    return CheckResult(
        "torchvision",
        "warning",
        f"{finding.seen}, but torch for {torch}: its operators may be missing",
        "install torch and torchvision from the same index of PyTorch",
    )


def check_vllm(machine: Machine, needs: Footprint | None) -> CheckResult:
    finding = check_package(machine, "vllm")
    build = machine.packages["vllm"].build
    if finding.level == "fault" or machine.joins or build is None:
        return finding
    level: Level
    if needs is None:
        fitting = "cuda" if machine.driver else "cpu"
        why, level = "this machine", "warning"
    else:
        gpus = needs.recipe.rollout.gpus
        fitting = "cuda" if gpus else "cpu"
        why, level = f"rollout.gpus: {gpus:g}", "fault"
    if build == fitting:
        return finding
    extra = "gpu" if fitting == "cuda" else "cpu"
    advice = f"a second environment: make setup VENV=.venv-{extra} EXTRA={extra}"
    if needs:
        advice += ", or change rollout.gpus"
    return CheckResult("vllm", level, f"{finding.seen}; {why} needs the build for {fitting}", advice)


def check_compiler(machine: Machine, needs: Footprint | None) -> CheckResult:
    """Triton, which makes kernels for GPUs for vLLM and torch, needs a compiler. On CPUs nothing does."""
    missing = [name for name, installed in machine.tools.items() if not installed]
    if not missing:
        return CheckResult("compiler", "ok", ", ".join(machine.tools))
    on_gpu = needs is not None and bool(needs.gpu_memory)
    if needs is None and not machine.joins:
        on_gpu = machine.driver is not None
    seen = f"no {', '.join(missing)}; kernels for GPUs are compiled with them"
    if not on_gpu:
        return CheckResult("compiler", "ok", seen)
    packages = {"gcc": "apt-get install gcc", "Python.h": "apt-get install python3-dev"}
    return CheckResult("compiler", "fault", seen, "; ".join(packages[name] for name in missing))


# -- hardware ---------------------------------------------------------------------------------------------------------


def check_gpus(machine: Machine, needs: Footprint | None) -> CheckResult:
    required = bool(needs and needs.gpu_memory)
    level: Level = "fault" if required else "warning"
    build = machine.packages["torch"].build
    if machine.driver is None:
        if required:
            return CheckResult(
                "GPU",
                "fault",
                "no NVIDIA driver answers, and the recipe needs GPUs",
                "install the driver (nvidia-smi must answer), or set rollout.gpus and learner.gpus to 0",
            )
        return CheckResult("GPU", "ok", "none; workers with gpus: 0 run on CPUs")
    if build == "cpu":
        return CheckResult(
            "GPU",
            level,
            f"driver {machine.driver}, but torch is built for cpu and cannot use it",
            "a second environment: make setup VENV=.venv-gpu EXTRA=gpu",
        )
    if machine.gpu_error or not machine.gpus:
        why = machine.gpu_error or "none is visible"
        return CheckResult(
            "GPU",
            level,
            f"driver {machine.driver}, torch for {build} finds no GPU: {why}",
            f"update the driver to one for {build}, or check what CUDA_VISIBLE_DEVICES hides",
        )
    smallest = min(gpu.memory for gpu in machine.gpus)
    seen = f"{len(machine.gpus)} × {machine.gpus[0].name}, at least {gib(smallest)} each, driver {machine.driver}"
    for kind, need in (needs.gpu_memory if needs else {}).items():
        if need > smallest:
            return CheckResult(
                "GPU",
                "fault",
                f"{seen}; a {kind} worker needs {gib(need)} before activations and caches",
                f"{SPREAD_ADVICE[kind]}, a smaller model, or larger GPUs",
            )
    return CheckResult("GPU", "ok", seen)


def check_shared_memory(machine: Machine, needs: Footprint | None) -> CheckResult:
    free, store = machine.shm.free, _object_store(machine)
    seen = f"/dev/shm has {gib(free)} free, Ray's object store wants {gib(store)}"
    versions = VERSIONS_IN_FLIGHT * needs.version if needs else 0
    if versions > store:
        seen += f"; it must hold {gib(versions)} of weights, and would move some to disk"
        return CheckResult(
            "shared memory", "warning", seen, "a machine with more memory; Ray gives the store 30 % of it"
        )
    if store > free:
        return CheckResult("shared memory", "warning", f"{seen}; Ray would use the disk instead, slowly", SHM_ADVICE)
    return CheckResult("shared memory", "ok", seen)


def check_open_files(machine: Machine) -> CheckResult:
    seen = f"at most {machine.open_files} in a process"
    if machine.open_files >= OPEN_FILES:
        return CheckResult("open files", "ok", seen)
    return CheckResult(
        "open files",
        "warning",
        f"{seen}; Ray may lose connections below {OPEN_FILES}",
        "ulimit -n 8192 in the shell that starts Ray (LimitNOFILE in systemd, --ulimit nofile with docker)",
    )


def check_memory(machine: Machine, needs: Footprint | None) -> CheckResult:
    seen = f"{gib(machine.memory)} of RAM"
    if needs is None:
        return CheckResult("memory", "ok", seen)
    total = sum(needs.memory.values())
    seen += f"; the recipe needs about {gib(total)}: {_parts(needs.memory)}"
    if total <= 0.9 * machine.memory:
        return CheckResult("memory", "ok", seen)
    return CheckResult(
        "memory",
        "fault" if total > machine.memory else "warning",
        seen,
        "fewer rollout.workers or learner.workers, less rollout.kv_cache_gib, or more machines",
    )


def check_run_disk(machine: Machine, needs: Footprint | None) -> CheckResult:
    disk = machine.run_disk
    seen = f"{disk.path}: {gib(disk.free)} free"
    if needs is None:
        return CheckResult("disk of runs", "ok", seen)
    files = dict(needs.files)
    if disk.device == machine.ray_disk.device and not machine.joins:
        files["Ray"] = _ray_files(machine, needs)
    seen += f"; the run writes about {gib(sum(files.values()))}: {_parts(files)}"
    if sum(files.values()) <= disk.free:
        return CheckResult("disk of runs", "ok", seen)
    return CheckResult("disk of runs", "fault", seen, "free some, set root to a larger disk, or lower checkpoint.keep")


def check_ray_disk(machine: Machine, needs: Footprint | None) -> CheckResult:
    disk, need = machine.ray_disk, _ray_files(machine, needs)
    seen = f"{disk.path}: {gib(disk.free)} free of {gib(disk.total)}, Ray wants about {gib(need)}"
    advice = "free some, or set RAY_TMPDIR to a larger disk before Ray starts"
    if disk.free < (1 - DISK_FULL) * disk.total:
        return CheckResult(
            "disk of Ray", "fault", f"{seen}; Ray stores no objects on a disk over {DISK_FULL:.0%} full", advice
        )
    if need > disk.free:
        return CheckResult("disk of Ray", "fault", seen, advice)
    return CheckResult("disk of Ray", "ok", seen)


def check_workers(machine: Machine, needs: Footprint | None) -> CheckResult:
    if machine.cluster_error:
        return CheckResult(
            "workers",
            "fault",
            f"the cluster of RAY_ADDRESS cannot be joined: {machine.cluster_error}",
            f"start it, or unset RAY_ADDRESS; {TOKEN_ADVICE}",
        )
    if machine.cluster is not None:
        where, limits = "the cluster of RAY_ADDRESS", machine.cluster
    else:
        where, limits = "this machine", {"CPU": math.floor(machine.cpus), "GPU": len(machine.gpus)}
    seen = f"{where} has {limits.get('CPU', 0):g} CPUs and {limits.get('GPU', 0):g} GPUs"
    missing = missing_resource(needs.recipe.roles, limits) if needs else None
    if missing:
        fault, _, advice = missing.rpartition("; ")
        return CheckResult("workers", "fault", fault, f"{advice}, or join a larger cluster with RAY_ADDRESS")
    return CheckResult("workers", "ok", f"{seen}, enough for every worker" if needs else seen)


def check_model(needs: Footprint, remarks: Sequence[str] = ()) -> CheckResult:
    if needs.fault:
        seen, _, advice = needs.fault.rpartition("; ")
        if not needs.weights:
            seen += "; the sizes above are without its weights"
        return CheckResult("model", "fault", seen, advice)
    size = f"{gib(needs.weights)} of weights in {needs.recipe.learner.dtype}"
    return CheckResult("model", "warning" if remarks else "ok", "; ".join([size, *remarks]))


def _object_store(machine: Machine) -> float:
    return min(STORE_SHARE * machine.memory, STORE_MAX, max(SHM_MIN, SHM_SHARE * machine.shm.free))


def _ray_files(machine: Machine, needs: Footprint | None) -> int:
    """Bytes in Ray's temporary folder: logs, and the versions of the weights that its object store has no space for."""
    spilled = max(0.0, VERSIONS_IN_FLIGHT * needs.version - _object_store(machine)) if needs else 0.0
    return int(RAY_LOGS + spilled)


def _parts(sizes: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {gib(size)}" for name, size in sizes.items() if size)
