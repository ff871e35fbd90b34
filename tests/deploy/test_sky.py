"""launch/sky.yaml: fields that SkyPilot knows, and commands that are ours. SkyPilot 0.14.1 itself was tried by hand."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.config.recipe_file import load_recipe

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "launch" / "sky.yaml").read_text(encoding="utf-8")
TASK = yaml.safe_load(TEXT)


def test_the_fields_are_skypilots():
    assert set(TASK) == {"name", "num_nodes", "workdir", "resources", "envs", "file_mounts", "setup", "run"}
    assert set(TASK["resources"]) == {"accelerators", "memory", "disk_size"}


@pytest.mark.parametrize("part", ["setup", "run"])
def test_bash_can_read_the_commands_and_the_files_that_they_name_exist(part):
    subprocess.run(["bash", "-n"], input=TASK[part], text=True, check=True)
    files = re.findall(r"\b(?:scripts|launch)/\S+", TASK[part])
    assert files and all((ROOT / file).is_file() for file in files)


def test_one_machine_has_the_gpus_of_the_recipe_and_the_documented_two_are_full():
    (settings,) = re.findall(r'--num-nodes 2 --env WORKERS="([^"]+)"', TEXT)
    gpus = int(TASK["resources"]["accelerators"].split(":")[1])
    for nodes, words in ((TASK["num_nodes"], []), (2, shlex.split(settings)[1::2])):
        recipe = load_recipe(ROOT / TASK["envs"]["RECIPE"], words)
        needed = sum(role.workers * getattr(role, "gpus", 0) for role in recipe.roles.values())
        assert needed == nodes * gpus


def test_the_command_is_one_of_ours(monkeypatch):
    (command,) = re.findall(r"curlvpr (train .*)", TASK["run"])
    told = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {command}"], env=TASK["envs"], capture_output=True, text=True, check=True
    )
    started = []
    monkeypatch.setattr("cluster.run.launch.start", lambda recipe, path: started.append(path) or 0)
    monkeypatch.chdir(ROOT)
    CliRunner().invoke(app, told.stdout.splitlines(), catch_exceptions=False)
    assert started == [Path(TASK["envs"]["RUN"])]
