"""Ill steps: gradients that are not finite, and a run that collapses."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.config.recipe_file import load_recipe
from cluster.control.run_actor import ControlRequest, read_status, send_request
from cluster.run.launch import start
from tests.support.short_run import SHORT, SMOKE, wait_until
from tests.support.whole_runs import booked, events, train_beside


@pytest.mark.slow
def test_gradients_that_are_never_finite_end_the_run(ray_session, tmp_path):
    """A learning rate that no number can hold: weights overflow at the first update."""
    path = tmp_path / "overflow"
    assert start(load_recipe(SMOKE, [*SHORT, "stages.sft.training.lr=1e38", "learner.zero_stage=2"]), path) == 1
    summary = json.loads((path / "summary.json").read_text())
    assert summary["status"] == "failed" and re.match(
        r"step 4: the gradient was not finite, .* the 16 samples at fault are in \S+step-0000004.parquet; "
        r"so it was in the 2 steps before",
        summary["why"],
    )
    rows = [r for r in pq.read_table(path / "metrics.parquet").to_pylist() if r["event"] == "step"]
    assert [r["skipped"] for r in rows] == [0, 1, 1, 1]
    (sample, *_) = pq.read_table(path / "non_finite" / "step-0000002.parquet").to_pylist()
    assert sample["rank"] == 0 and (path / "data" / "images") in [p.parent for p in map(Path, sample["images"])]


COLLAPSE = """
from pathlib import Path


def pays_the_same_for_everything(task, response, verdict):
    return 1.0 if (Path(__file__).parent / "collapsed").exists() else min(1.0, response.count("e") / 50)
"""


@pytest.mark.slow
def test_a_collapse_is_paused_and_rolled_back(ray_session, tmp_path, monkeypatch):
    """A constant reward pauses the run; mended, it meets a learning rate that is a hundred times too high."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "house.py").write_text(COLLAPSE)
    (tmp_path / "collapsed").touch()
    path, lr = tmp_path / "collapse", 1e-2
    settings = [
        *SHORT,
        "reward.rules={gates: [], format: 0, outcome: 1.0e-300, process: 0, reason: 0, own: {e: {rule: "
        "'house:pays_the_same_for_everything', weight: 1}}}",
        f"stages.closed.training.lr={lr}",
        "stages.closed.training.kl=0.001",
        "stages.closed.gate.max_steps=6",
        "stages.closed.gate.every=6",
        "guards=[{measure: flat_groups, above: 0.95, steps: 2, then: pause}, "
        "{measure: kl, above: 0.2, steps: 1, then: roll_back}]",
    ]
    asked = {}

    def mend():
        wait_until(lambda: booked(path, "trained", "closed"))
        wait_until(lambda: read_status(path)["status"] == "paused")
        asked["paused"] = read_status(path)
        (tmp_path / "collapsed").unlink()
        send_request(path, ControlRequest("resume"))

    train_beside(mend, load_recipe(SMOKE, settings), path)
    assert (asked["paused"]["stage"], asked["paused"]["stage_step"]) == ("closed", 2)
    rows = [
        r
        for r in pq.read_table(path / "metrics.parquet").to_pylist()
        if r["event"] == "step" and r["stage"] == "closed"
    ]
    assert [r["stage_step"] for r in rows] == [1, 2, 3, 4, 5, 6], "a step that was undone still counts"
    assert 0 < rows[0]["lr"] <= 0.1 * lr and all(r["kl"] <= 0.2 for r in rows)
    ledger = (path / "ledger.jsonl").read_text()
    assert '"rewound"' in ledger
    trained = [e["group"] for e in events(path) if e["event"] == "trained"]
    assert len(trained) == len(set(trained)) == 8 * (6 + 2)
