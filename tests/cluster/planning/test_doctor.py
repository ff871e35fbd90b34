"""`curlvpr doctor`: facts in, findings out; every fault and warning says what to do."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from actors.model.tiny_model import TinyModelConfig
from cluster.cli.app import main
from cluster.config.recipe_file import load_recipe
from cluster.planning.doctor import judge
from cluster.planning.footprint import GIB, footprint
from cluster.planning.machine import PACKAGES, Disk, Gpu, Machine, Package, disk, probe

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
        run_disk=Disk(Path("/runs"), 500 * GIB, 900 * GIB, 2),
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


def test_the_estimated_size_of_the_tiny_model_is_near_the_real_one(tiny_model):
    recipe = load_recipe(RECIPES / "quickstart.yaml")
    real = footprint(
        recipe.model_copy(update={"model": recipe.model.model_copy(update={"tiny": None, "path": tiny_model})})
    )
    assert recipe.model.tiny == TinyModelConfig() and footprint(recipe).weights == pytest.approx(real.weights, rel=0.05)


def test_the_estimated_files_are_near_those_of_a_run_of_the_quickstart():
    """Measured once (bytes): a whole run of an earlier quickstart, with keep: 2; a commit of it today."""
    files = needs("quickstart", "data.phantoms.train=4000", "data.phantoms.val=200", "data.phantoms.test=400").files
    assert files["data"] == pytest.approx(42_631_459, rel=0.1)
    assert files["checkpoints"] == pytest.approx((17_051_159 + 5_657_064) * 3, rel=0.05)
    assert files["models"] == pytest.approx(5_689_670 + 5_689_172, rel=0.05)


def test_packages_that_fail_crash_and_hang_are_told_apart(tmp_path, monkeypatch):
    (tmp_path / "aa_well.py").write_text("print('chatter')")
    (tmp_path / "bb_raises.py").write_text("raise ImportError('libfoo.so:\\n  cannot open')")
    (tmp_path / "cc_crashes.py").write_text("import os; os.kill(os.getpid(), 11)")
    (tmp_path / "dd_exits.py").write_text("raise SystemExit(3)")
    (tmp_path / "ee_hangs.py").write_text("import time; time.sleep(1000)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answers = probe(["bb_raises", "aa_well", "cc_crashes", "dd_exits", "no_such_package", "ee_hangs"], 10)
    assert answers["aa_well"] == {}
    assert answers["bb_raises"] == {"error": "ImportError: libfoo.so: cannot open"}
    assert answers["cc_crashes"] == {"error": "it ended the process with signal 11"}
    assert answers["dd_exits"] == {"error": "SystemExit: 3"}
    assert answers["no_such_package"] == {"error": "ModuleNotFoundError: No module named 'no_such_package'"}
    assert answers["ee_hangs"] == {"error": "not finished within 10 s", "timed_out": True}


def test_a_cluster_that_does_not_answer_is_told_at_once(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert "ConnectionRefusedError" in probe(["cluster"], 100)["cluster"]["error"]


def test_the_disk_of_a_folder_that_is_yet_to_be_made(tmp_path):
    assert replace(disk(tmp_path / "a" / "b"), path=tmp_path, free=0) == replace(disk(tmp_path), free=0)


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
        == "curlvpr: --set: needs a recipe, such as curlvpr doctor recipes/quickstart.yaml "
        "--set rollout.workers=1\n"
    )
