"""Commands that join a cluster or hand it a job: a missing token is reported in one line."""

import json
import os
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import ray
import torch
import yaml
from safetensors.torch import save_file

from cluster.control.ray_jobs import submit
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


@pytest.fixture
def dashboard():
    """The address of a dashboard that takes every job, and the jobs that it took."""
    jobs = []

    class Dashboard(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer({"version": "4", "ray_version": ray.__version__, "ray_commit": ray.__commit__})

        def do_POST(self):
            jobs.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer({"job_id": "job", "submission_id": "job"})

        def answer(self, values):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(values).encode())

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Dashboard)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", jobs
    server.shutdown()


@pytest.mark.parametrize(
    "settings, driver_cpus, asked",
    [
        ([], 1, {"entrypoint_num_cpus": 1, "entrypoint_memory": 3 * 2 * 10**6}),
        ([], 0, {"entrypoint_num_cpus": 0}),  # on the head, which nothing is asked of
        (["model.path=/only/on/the/cluster"], 1, {"entrypoint_num_cpus": 1, "entrypoint_memory": 0}),
    ],
    ids=["driver", "head", "unknown"],
)
def test_a_run_loop_asks_for_the_memory_of_the_weights_if_their_size_is_known(
    dashboard, tmp_path, monkeypatch, settings, driver_cpus, asked
):
    """Three versions in bfloat16; a node that lacks the room would keep them in files."""
    address, jobs = dashboard
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "qwen2"}')
    save_file({"weight": torch.zeros(1000, 1000, dtype=torch.bfloat16)}, tmp_path / "model" / "model.safetensors")
    base = yaml.safe_load(Path(RECIPE).read_text())
    recipe = {**base, "model": {"path": str(tmp_path / "model")}, "learner": {"dtype": "bfloat16", "zero_stage": 1}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.chdir(tmp_path)
    submit(tmp_path / "recipe.yaml", None, settings, address, driver_cpus)
    (job,) = jobs
    assert {name: value for name, value in job.items() if name in ("entrypoint_num_cpus", "entrypoint_memory")} == asked
