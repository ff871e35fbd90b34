"""A learner that may have fewer ranks than it should: on real nodes, one of which dies and another comes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_learner_goes_on_with_fewer_ranks_and_grows_after_a_commit(tiny_model, phantom_tasks, tmp_path):
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text("\n".join(task.model_dump_json() for task in phantom_tasks[:8]))
    root = Path(__file__).parents[2]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {
        "PYTHONPATH": str(root),
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "5",
    }
    done = subprocess.run(
        [
            sys.executable,
            str(root / "tests" / "support" / "elastic_learner.py"),
            str(tiny_model),
            str(tasks),
            str(tmp_path),
        ],
        env=environment,
        cwd=root,
        timeout=400,
        text=True,
        capture_output=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, done.stderr[-3000:]
    assert [(line["event"], line["ranks"]) for line in told] == [
        ("committed", 2),
        ("restarted", 1),
        ("fewer", 1),
        ("alone", 1),
        ("restarted", 2),
        ("more", 2),
    ]
    by_event = {line["event"]: line.get("step") for line in told}
    assert by_event["more"] == by_event["committed"]  # the same step from the same commit, number by number
    assert by_event["fewer"] == pytest.approx(by_event["committed"], rel=1e-5)
    assert "1 restart instead of 2" in told[1]["why"] and "2 restart instead of 1" in told[4]["why"]
