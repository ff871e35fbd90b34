"""What users request of a run while it goes on."""

import gzip
import json
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from cluster.config.recipe_file import load_recipe
from cluster.control.run_actor import ControlRequest, read_status, send_request
from cluster.errors import UserError
from cluster.run.launch import resume
from cluster.run.requests import Requests
from tests.support.short_run import SHORT, SMOKE, wait_until
from tests.support.whole_runs import booked, events, reached, train_beside


@pytest.mark.early
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_generates_ahead_can_be_asked_scaled_stopped_and_resumed(workers, ray_session, tmp_path):
    """It is stopped with one or two learner ranks (ZeRO-2) and rollout workers, and weights that go straight to these.
    It goes on with one rank and the store."""
    path = tmp_path / "ahead"
    ahead = [
        f"stages.{stage}.training.{key}={value}"
        for stage in ("closed", "open")
        for key, value in (("max_staleness", 1), ("correction", "token"))
    ]
    settings = [
        *SHORT,
        *ahead,
        "stages.closed.gate.max_steps=6",
        "stages.closed.gate.every=6",
        f"learner.workers={workers}",
        "learner.zero_stage=2",
        "learner.cpus=0.25",
        "transport=collective",
    ]
    asked = {}

    def ask_it():
        wait_until(lambda: booked(path, "trained", "closed"))
        send_request(path, ControlRequest("profile", steps=1))
        with pytest.raises(UserError, match="1 steps are being profiled already"):
            send_request(path, ControlRequest("profile", steps=1))
        send_request(path, ControlRequest("scale", rollout=workers, reward=2))
        send_request(path, ControlRequest("pause"))
        wait_until(lambda: read_status(path)["status"] == "paused")
        wait_until(lambda: read_status(path)["workers"] == {"rollout": {"ready": workers}, "reward": {"ready": 2}})
        asked["paused"] = read_status(path)
        send_request(path, ControlRequest("resume"))
        wait_until(lambda: read_status(path)["step"] > asked["paused"]["step"])
        send_request(path, ControlRequest("stop"))

    train_beside(ask_it, load_recipe(SMOKE, settings), path)
    assert asked["paused"]["stage"] == "closed" and asked["paused"]["ledger"]["trained"] >= 8
    assert read_status(path)["status"] == "stopped" and not (path / "model").exists()
    assert resume(load_recipe(path / "recipe.yaml", ["learner.workers=1", "transport=store"]), path) == 0
    (profile,) = (path / "profile").iterdir()
    assert sorted(file.name for file in profile.iterdir()) == [
        "operators.txt",
        *(f"rank-{rank}.json.gz" for rank in range(workers)),
    ]
    assert "aten::addmm" in gzip.decompress((profile / f"rank-{workers - 1}.json.gz").read_bytes()).decode()
    log = [line["text"] for line in map(json.loads, (path / "log.jsonl").read_text().splitlines())]
    assert f"scaled as was asked before, {workers} rollout, 2 reward" in log
    rows = [
        r for r in pq.read_table(path / "metrics.parquet").to_pylist() if r["event"] == "step" and r["kind"] == "grpo"
    ]
    assert [r["stage_step"] for r in rows] == [1, 2, 3, 4, 5, 6, 1, 2]
    assert [r["staleness_max"] for r in rows[:3]] == [0, 1, 1] and max(r["staleness_max"] for r in rows[:6]) == 1
    assert reached(path)[:3] == [1, 1, 1] and reached(path)[-1] is None
    assert all(r["ratio_diff_max"] < 1e-4 for r in rows if r["staleness_max"] == 0)
    issued = [e["group"] for e in events(path) if e["event"] == "issued"]
    trained = [e["group"] for e in events(path) if e["event"] == "trained"]
    assert sorted(issued) == sorted(trained) and len(issued) == len(set(issued)) == 64


def test_a_scale_that_was_asked_holds_in_the_next_session(tmp_path):
    """The request alone; the run above is asked, stopped and resumed as a whole."""
    said, scaled, asked = [], [], [ControlRequest("scale", rollout=3), ControlRequest("stop")]
    context = SimpleNamespace(
        workers=SimpleNamespace(scale=lambda rollout=None, reward=None: scaled.append((rollout, reward))),
        display=SimpleNamespace(say=said.append),
        writer=SimpleNamespace(path=tmp_path),
        recipe=load_recipe(SMOKE),
    )
    progress = SimpleNamespace(status=lambda state: {"status": state}, report=lambda status: None)
    control = SimpleNamespace(sync=lambda status: asked)
    profiling = SimpleNamespace(steps_left=0, step_done=lambda: None)
    first = Requests(context, control, progress, None, profiling)
    first.restore_scale()
    assert not said and not scaled
    first.handle()
    Requests(context, control, progress, None, profiling).restore_scale()
    assert scaled == [(3, None), (3, None)]
    assert said == ["asked to scale, 3 rollout", "asked to stop", "scaled as was asked before, 3 rollout"]
