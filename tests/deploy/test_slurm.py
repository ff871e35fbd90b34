"""launch/slurm.sbatch with stand-ins for Slurm's commands: two nodes of this machine, and what a time limit does."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "slurm.sbatch"
SRUN = """#!/bin/bash
trap 'kill $(jobs -p)' TERM
while [[ $1 == -* ]]; do shift; done
for node in 0 1; do SLURM_NODEID=$node "$@" & done
wait; wait
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then printf '127.0.0.1\\n127.0.0.1\\n'; else echo "$*" >>"$SHIMS/requeued"; fi
"""
# Keeps what it was called with, and how many nodes its cluster has. A new run goes on until SIGTERM.
CURLVPR = """#!/usr/bin/env python
import json, os, signal, sys
from pathlib import Path
import ray
ray.init(os.environ["RAY_ADDRESS"], logging_level="CRITICAL")
run = Path(os.environ["CURLVPR_ROOT"], os.environ["SLURM_JOB_NAME"])
run.mkdir(parents=True, exist_ok=True)
signal.signal(signal.SIGTERM, lambda *_: None)
(run / f"{sys.argv[1]}.json").write_text(json.dumps([sys.argv[1:], len(ray.nodes())]))
if sys.argv[1] == "train":
    signal.pause()
status = {"train": "stopped", "resume": "finished"}[sys.argv[1]]
(run / "summary.json").write_text(json.dumps({"status": status}, indent=2))
"""


@pytest.fixture
def job(tmp_path):
    """Starts the script as Slurm would in a job of two nodes."""
    shims = tmp_path / "bin"
    shims.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("curlvpr", CURLVPR)):
        (shims / name).write_text(text)
        (shims / name).chmod(0o755)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(64 * "a")
    number = str(os.getpid())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VENV": str(tmp_path),
        "SHIMS": str(tmp_path),
        "CURLVPR_ROOT": str(tmp_path / "runs"),
        "RAY_PORT": "26379",
        "SLURM_JOB_ID": number,
        "SLURM_JOB_NAME": "seven",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_ON_NODE": "1",
    }
    started = []

    def start(*arguments):
        process = subprocess.Popen(["bash", SCRIPT, *arguments], cwd=ROOT, env=environment, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    for node in (0, 1):
        shutil.rmtree(f"/tmp/ray-{number}-{node}", ignore_errors=True)


def test_the_script_is_one_that_bash_can_read():
    subprocess.run(["bash", "-n", SCRIPT], check=True)


@pytest.mark.slow
def test_a_job_whose_time_is_up_stops_its_run_and_the_next_one_resumes_it(tmp_path, job):
    run = tmp_path / "runs" / "seven"
    first = job("recipes/cx_mind_7b.yaml", "--set", "seed=1")
    deadline = time.monotonic() + 120
    while not (run / "train.json").is_file():
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)  # the batch shell alone, as --signal=B: says
    assert first.wait(60) == 0
    asked = ["train", "recipes/cx_mind_7b.yaml", "--set", "seed=1", "--name", "seven", "--set", f"root={run.parent}"]
    assert json.loads((run / "train.json").read_text()) == [asked, 2]
    assert (tmp_path / "requeued").read_text() == f"requeue {os.getpid()}\n"

    assert job("recipes/cx_mind_7b.yaml", "--set", "seed=1").wait(180) == 0
    assert json.loads((run / "resume.json").read_text()) == [["resume", str(run)], 2]
    assert len((tmp_path / "requeued").read_text().splitlines()) == 1  # nothing is left to do
