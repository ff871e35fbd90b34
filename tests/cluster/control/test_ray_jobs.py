"""Commands that join a cluster or hand it a job: a missing token is reported in one line."""

import json
import os
import socket
import subprocess
import sys

import pytest

from cluster.record.lease import Lease

RECIPE = "recipes/smoke.yaml"


@pytest.fixture
def door():
    """The address of somebody who listens, and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "command, words",
    [
        (["submit", RECIPE, "--address", "http://DOOR"], "the cluster takes no job: "),
        (["train", RECIPE], "no connection to DOOR: "),
        (["status", "RUN"], "RUN: no connection to its cluster at DOOR: "),
        (["plan", RECIPE], "the cluster of RAY_ADDRESS=DOOR cannot be joined: "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_missing_token_is_told_in_one_line(tmp_path, door, command, words):
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text("{}")
    (run / "ray_address").write_text(json.dumps({"address": door, "auth_mode": "token"}))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "RAY_AUTH_MODE": "token", "RAY_ADDRESS": door}
    filled = [part.replace("DOOR", door).replace("RUN", str(run)) for part in [*command, words]]
    with Lease(run):  # the cluster of a run whose process is gone is not asked
        done = subprocess.run(
            [sys.executable, "-m", "cluster.cli", *filled[:-1]],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
    line = done.stderr.strip()
    assert done.returncode == 2 and line.startswith(f"curlvpr: {filled[-1]}") and len(line.splitlines()) == 1, (
        done.stderr
    )
    assert (
        "Token authentication is enabled but" in line
        and "RAY_AUTH_MODE=token and its own token (~/.ray/auth_token" in line
    )
