"""launch/ray-up.yaml: what Ray's launcher accepts, and what every machine that it starts needs."""

from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from cluster.control.ray_connection import LEARNER_RESOURCE

FILE = yaml.safe_load((Path(__file__).parents[2] / "launch" / "ray-up.yaml").read_text(encoding="utf-8"))


def test_the_launcher_accepts_the_file():
    config = prepare_config(FILE)
    validate_config(config)
    nodes = config["available_node_types"]
    assert nodes["head"]["resources"] == {"CPU": 0}
    assert nodes["learner"]["resources"][LEARNER_RESOURCE] > 0 and LEARNER_RESOURCE not in nodes["rollout"]["resources"]
    with pytest.raises(Exception, match="head_nod"):
        validate_config(prepare_config({**FILE, "head_nod": "head"}))


def test_machines_ask_for_the_token_and_take_no_environment_along():
    assert FILE["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("RAY_AUTH_MODE=token" in command for command in FILE["setup_commands"])
    assert {".venv", "runs"} <= set(FILE["rsync_exclude"])
