"""`curlvpr doctor` on made-up machines: what is wrong is found, and only that."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cluster.cli.app import main
from cluster.config.recipe_file import load_recipe
from cluster.planning.doctor import judge
from cluster.planning.footprint import GIB, footprint
from cluster.planning.machine import PACKAGES, Disk, Gpu, Machine, Package

RECIPES = Path(__file__).parents[3] / "recipes"
GPU = Gpu("H100", 80 * GIB)


def machine(**changes):
    """A CPU machine on which all is well, with changes."""
    packages = {name: Package("1.0", "==1.0") for name in PACKAGES}
    packages |= {
        "torch": Package("1.0+cpu", "==1.0", build="cpu"),
        "torchvision": Package("1.0", build="cpu"),
        "vllm": Package("1.0", "==1.0", build="cpu"),
    }
    plain = Machine(
        python=(3, 12),
        packages=packages | changes.pop("packages", {}),
        tools={"gcc": True, "Python.h": True},
        driver=None,
        gpus=(),
        gpu_error=None,
        cpus=8.0,
        memory=64 * GIB,
        shm=Disk(Path("/dev/shm"), 32 * GIB, 32 * GIB, 1),
        open_files=65536,
        run_disk=Disk(Path("/runs"), 600 * GIB, 900 * GIB, 2),
        ray_disk=Disk(Path("/tmp/ray"), 500 * GIB, 900 * GIB, 3),
        cluster=None,
        cluster_error=None,
    )
    return replace(plain, **changes)


def gpu_machine(**changes):
    packages = {
        "torch": Package("1.0+cu130", "==1.0", build="cu130"),
        "torchvision": Package("1.0", build="cu130"),
        "vllm": Package("1.0", "==1.0", build="cuda"),
    } | changes.pop("packages", {})
    return machine(
        **{
            "packages": packages,
            "driver": "580.1",
            "gpus": (GPU,) * 8,
            "cpus": 64.0,
            "memory": 2000 * GIB,
            "shm": Disk(Path("/dev/shm"), 1000 * GIB, 1000 * GIB, 1),
            **changes,
        }
    )


def needs(name="quickstart", *settings):
    return footprint(load_recipe(RECIPES / f"{name}.yaml", settings))


@pytest.fixture(scope="module")
def seven_billion(tmp_path_factory):
    """What cx_mind_7b needs, by the header of a file that has 7.0e9 parameters and no bytes on disk."""
    folder = tmp_path_factory.mktemp("big")
    header = json.dumps({"w": {"dtype": "BF16", "shape": [70_000, 100_000], "data_offsets": [0, 14 * 10**9]}}).encode()
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 14 * 10**9)  # sparse
    return needs("cx_mind_7b", f"model.path={folder}")


def not_ok(machine, needs=None):
    """{name: finding}, each of them with advice."""
    findings = {finding.name: finding for finding in judge(machine, needs) if finding.level != "ok"}
    assert all(finding.advice and finding.seen for finding in findings.values())
    return findings


def one(machine, needs, name, level):
    """The only finding that is not ok."""
    findings = not_ok(machine, needs)
    assert findings.keys() == {name} and findings[name].level == level, findings
    return findings[name]


def test_nothing_is_found_where_all_is_well(seven_billion):
    for there, recipe in (
        (machine(), None),
        (machine(), needs()),
        (gpu_machine(), None),
        (gpu_machine(), seven_billion),
    ):
        assert not_ok(there, recipe) == {}
        assert all(finding.advice == "" for finding in judge(there, recipe))


@pytest.mark.parametrize(
    "change, name, level, words",
    [
        (dict(python=(3, 13)), "python", "fault", "3.13; 3.11 or 3.12 is needed"),
        (
            dict(packages={"ray": Package(None, error="No module named 'ray'")}),
            "ray",
            "fault",
            "not installed: No module named",
        ),
        (
            dict(packages={"vllm": Package("1.0", error="OSError: libfoo.so: no such file", build="cpu")}),
            "vllm",
            "fault",
            "1.0 cannot be imported: OSError: libfoo.so: no such file",
        ),
        (dict(packages={"ray": Package("0.9", "==1.0")}), "ray", "warning", "0.9; ==1.0 is what was tested"),
        (
            dict(packages={"vllm": Package("1.0", error="not finished within 300 s", timed_out=True)}),
            "vllm",
            "warning",
            "takes too long",
        ),
        (
            dict(packages={"vllm": Package("1.0", build="cuda")}),
            "vllm",
            "warning",
            "this machine needs the build for cpu",
        ),
        (dict(driver="580.1"), "GPU", "warning", "torch is built for cpu and cannot use it"),
        (
            dict(shm=Disk(Path("/dev/shm"), GIB // 16, GIB // 16, 1)),
            "shared memory",
            "warning",
            "/dev/shm has 64 MiB free",
        ),
        (dict(open_files=1024), "open files", "warning", "at most 1024"),
        (dict(ray_disk=Disk(Path("/tmp/ray"), 20 * GIB, 900 * GIB, 3)), "disk of Ray", "fault", "over 95% full"),
        (dict(ray_disk=Disk(Path("/tmp/ray"), GIB // 2, 2 * GIB, 3)), "disk of Ray", "fault", "/tmp/ray: 0.5 GiB free"),
        (
            dict(cluster_error="ConnectionError: no answer"),
            "workers",
            "fault",
            "RAY_ADDRESS cannot be joined: ConnectionError",
        ),
    ],
)
def test_a_fault_of_the_machine_is_found_alone(change, name, level, words):
    if name == "GPU":
        change["packages"] = {"vllm": Package("1.0", build="cuda")}
    assert words in one(machine(**change), None, name, level).seen


def test_a_compiler_is_needed_for_gpus_alone(seven_billion):
    bare = {"gcc": False, "Python.h": True}
    assert not_ok(machine(tools=bare)) == not_ok(machine(tools=bare), needs()) == {}
    assert "no gcc" in one(gpu_machine(tools=bare), seven_billion, "compiler", "fault").seen
    assert "no gcc" in one(gpu_machine(tools=bare), None, "compiler", "fault").seen


def test_torchvision_of_another_build():
    beside_cpu = {"torchvision": Package("1.0", build="cu130")}
    assert not_ok(machine(packages=beside_cpu)) == {}  # `make setup` arranges it where no other can be had
    assert (
        "torch for cu130"
        in one(gpu_machine(packages={"torchvision": Package("1.0", build="cpu")}), None, "torchvision", "warning").seen
    )


@pytest.mark.parametrize(
    "change, name, words",
    [
        (dict(cpus=1.5), "workers", "rollout.workers: 2 × 0.5 CPU is more than this cluster can have"),
        (dict(memory=8 * GIB), "memory", "8.0 GiB of RAM; the recipe needs about 11.2 GiB: rollout workers 5.0 GiB"),
        (dict(run_disk=Disk(Path("/runs"), 100 * 2**20, 900 * GIB, 2)), "disk of runs", "/runs: 100 MiB free"),
        (dict(packages={"vllm": Package("1.0", build="cuda")}), "vllm", "rollout.gpus: 0 needs the build for cpu"),
    ],
)
def test_a_recipe_that_the_machine_cannot_hold(change, name, words):
    finding = one(machine(**change), needs(), name, "fault")
    assert words in finding.seen


def test_ray_and_the_run_on_one_disk_share_its_space():
    small = Disk(Path("/runs"), int(1.05 * GIB), 10 * GIB, 2)
    assert not_ok(machine(run_disk=small), needs()) == {}
    assert (
        "Ray 1.0 GiB"
        in one(
            machine(run_disk=small, ray_disk=replace(small, path=Path("/tmp/ray"))), needs(), "disk of runs", "fault"
        ).seen
    )


@pytest.mark.parametrize(
    "change, name, words",
    [
        (dict(driver=None, gpus=()), "GPU", "no NVIDIA driver answers"),
        (dict(gpus=(), gpu_error="The NVIDIA driver on your system is too old"), "GPU", "is too old"),
        (dict(gpus=(Gpu("L4", 22 * GIB),) * 8), "GPU", "a learner worker needs"),
        (dict(gpus=(GPU,) * 7), "workers", "4 × 1 GPU is more than this cluster can have"),
        (dict(run_disk=Disk(Path("/runs"), 200 * GIB, 900 * GIB, 2)), "disk of runs", "checkpoints"),
        (dict(packages={"vllm": Package("1.0", build="cpu")}), "vllm", "rollout.gpus: 1 needs the build for cuda"),
    ],
)
def test_a_7b_recipe_that_the_machine_cannot_hold(change, name, words, seven_billion):
    finding = not_ok(gpu_machine(**change), seven_billion)[name]
    assert finding.level == "fault" and words in finding.seen


def test_a_store_that_is_too_small_for_the_versions_of_a_7b_model(seven_billion):
    small = gpu_machine(shm=Disk(Path("/dev/shm"), 20 * GIB, 20 * GIB, 1))
    assert "it must hold 39.1 GiB of weights" in one(small, seven_billion, "shared memory", "warning").seen


def test_a_cluster_is_asked_instead_of_the_machine(seven_billion):
    """The workers run on the cluster's nodes: this machine needs no GPU, and not their memory."""
    there = {"CPU": 36.0, "GPU": 8.0}
    assert not_ok(machine(cluster=there), seven_billion) == {}
    finding = one(machine(cluster=there | {"CPU": 35.0}), seven_billion, "workers", "fault")
    assert "all workers together need 36 CPU, it has at most 35" in finding.seen


def test_a_model_that_cannot_be_read_is_a_fault_among_the_others(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"not weights at all")
    for path, words in ((tmp_path / "nowhere", "no such folder"), (tmp_path, "cannot be read as safetensors")):
        findings = not_ok(machine(), needs("cx_mind_7b", f"model.path={path}"))
        assert words in findings["model"].seen and {"GPU", "workers", "vllm"} <= findings.keys()


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["curlvpr", "doctor", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "400")  # no cell is broken into lines
    with pytest.raises(SystemExit) as exit:
        main()
    return exit.value.code, *capsys.readouterr()


def test_the_command_says_what_is_here(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    code, out, err = run(monkeypatch, capsys, RECIPES / "cx_mind_7b.yaml", "--set", f"model.path={tmp_path}/nowhere")
    assert code == 1 and "Traceback" not in out + err
    assert (
        "to fix before a run" in out
        and "model" in out.splitlines()[-1]
        and f"{tmp_path}/nowhere: no such folder" in out
    )
    assert not list(tmp_path.iterdir())


def test_the_command_refuses_a_wrong_recipe_in_one_line(monkeypatch, capsys, tmp_path):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"name": "x"}))
    assert run(monkeypatch, capsys, tmp_path / "r.yaml")[0] == 2
    code, _, err = run(monkeypatch, capsys, "--set", "seed=1")
    assert (
        code == 2
        and err
        == "curlvpr: --set: needs a recipe, such as curlvpr doctor recipes/quickstart.yaml --set rollout.workers=1\n"
    )
