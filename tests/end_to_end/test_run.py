"""Whole runs on the real stack: Ray, vLLM, DeepSpeed. One Ray cluster serves them all."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from cluster.config.recipe_file import load_recipe
from cluster.control.run_actor import ControlRequest, read_status, send_request
from cluster.record.ledger import committed_events
from cluster.record.run_log import read_log
from cluster.run.launch import resume, start
from tests.support.short_run import SHORT, SMOKE, wait_until


def weights(run):
    return load_file(run / "model" / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def events(run):
    return committed_events(run / "ledger.jsonl")


def test_stages_follow_each_other_in_one_run(run):
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert [(s["name"], s["kind"], s["steps"], s["reason"]) for s in summary["stages"]] == [
        ("sft", "sft", 12, "maximum"),
        ("closed", "grpo", 2, "maximum"),
        ("open", "grpo", 2, "maximum"),
    ]
    for stage in summary["stages"]:
        for when in ("start", "end"):
            scores = stage["evaluation"][when]
            for name in ("closed_accuracy", "open_micro_f1", "format_rate"):
                low, high = scores["intervals"][name]
                assert 0 <= low <= scores[name] <= high <= 1
    first, second = summary["stages"][:2]
    assert first["evaluation"]["end"] == second["evaluation"]["start"]
    assert 0 < sum(v for k, v in summary["seconds"].items() if k != "all") <= summary["seconds"]["all"]


def test_ledger_balances_and_trains_every_group_once(run):
    groups = {
        event: [e["group"] for e in events(run) if e["event"] == event] for event in ("issued", "trained", "dropped")
    }
    assert len(groups["issued"]) == len(set(groups["issued"])) > 32
    assert sorted(groups["trained"] + groups["dropped"]) == sorted(groups["issued"])


def test_groups_without_variance_are_replaced(run):
    """Long responses are punished in the open stage, so few groups lack variance; these are dropped, others trained."""
    dropped = [e for e in events(run) if e["event"] == "dropped"]
    assert dropped and all(e["reason"] == "no variance" and e["group"].startswith("open-") for e in dropped)
    rows = [
        r for r in pq.read_table(run / "metrics.parquet").to_pylist() if r["event"] == "step" and r["stage"] == "open"
    ]
    for step, row in enumerate(rows):
        issued, trained, left_out = (
            sum(e["event"] == event and e["group"].startswith(f"open-{step}-") for e in events(run))
            for event in ("issued", "trained", "dropped")
        )
        assert trained <= 8 <= issued == trained + left_out and row["dropped_groups"] == left_out / issued
        assert row["reward"] < 0 < row["grad_norm"]


def test_learner_and_rollouts_agree_on_every_token(run):
    rows = [
        r for r in pq.read_table(run / "metrics.parquet").to_pylist() if r["event"] == "step" and r["kind"] == "grpo"
    ]
    assert len(rows) == 4
    assert all(0 <= r["logp_diff_mean"] <= r["logp_diff_max"] < 1e-4 and r["ratio_diff_max"] < 1e-4 for r in rows)
    assert any(r["logp_diff_max"] > 0 for r in rows)  # it is measured, not assumed


def test_run_folder_holds_what_is_promised(run):
    assert any((run / "tensorboard").glob("events.*"))
    row = json.loads((run / "trajectories.jsonl").read_text().splitlines()[0])
    assert row["verdict"]["why"] and row["response"] and row["version"] >= 12
    assert load_recipe(run / "recipe.yaml") == load_recipe(SMOKE, [*SHORT, "stages.open.training.algorithm=dapo"])
    assert len(list((run / "checkpoints").iterdir())) == 2
    assert "Reward and its parts" in (run / "report.html").read_text(encoding="utf-8")
    assert "license_name" in (run / "model" / "README.md").read_text(encoding="utf-8")


def test_what_it_told_is_kept(run):
    lines = list(read_log(run))
    assert [line["step"] for line in lines if line["event"] == "step"] == list(range(1, 17))
    assert {line["run"] for line in lines} == {run.name} and lines == sorted(lines, key=lambda line: line["time"])
    told = [line["text"] for line in lines if line["event"] == "say"]
    assert told[0] == f"run folder {run}" and f"report {run / 'report.html'}" in told
    assert any(text.startswith("finished in ") for text in told)
    assert sum(line["event"] == "evaluation" and " test " in line["text"] for line in lines) >= 4


def test_model_answers_under_transformers(run):
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(run / "model")
    model = AutoModelForImageTextToText.from_pretrained(run / "model")
    held = {
        name.replace("model.visual.", "visual.").replace("model.language_model.", "model."): value
        for name, value in model.state_dict().items()
    }
    assert same(held, weights(run)), "the folder's weights are not the model's"
    image = Image.open(next((run / "data" / "images").glob("*.png"))).convert("RGB")
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Name all findings."}]}]
    inputs = processor(
        text=[processor.apply_chat_template(messages, add_generation_prompt=True)], images=[image], return_tensors="pt"
    )
    with torch.no_grad():
        assert model.generate(**inputs, max_new_tokens=4).shape[1] > inputs["input_ids"].shape[1]


def test_a_complete_run_says_so(run):
    from cluster.errors import UserError

    with pytest.raises(UserError, match="complete"):
        resume(load_recipe(run / "recipe.yaml"), run)


def reached(run):
    """Of each step of RL: the share of the rollout workers that the weights went straight to."""
    rows = pq.read_table(run / "metrics.parquet").to_pylist()
    return [r.get("by_collective") for r in rows if r["event"] == "step" and r["kind"] == "grpo"]


def train_beside(act, recipe, path, train=start):
    """A run, and beside it what `act` does to it; where that fails, or the run does not end in time, it is stopped."""

    def acting():
        try:
            act()
            wait_until(lambda: read_status(path)["status"] in ("finished", "stopped", "failed"))
        except BaseException:
            send_request(path, ControlRequest("stop"))
            raise

    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(acting)
        code = train(recipe, path)
        beside.result(timeout=60)
    assert code == 0


def process(*titles):
    """The process of one of this session's Ray actors whose title holds one of the words: its name, or what it does.

    None if there is none, or if its title is being written.
    """
    for candidate in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(title in " ".join(candidate.cmdline()) for title in titles):
                return candidate
    return None


def booked(path, event, stage):
    """Whether a group of the stage is booked so, since the ledger was last wound back."""
    ledger = path / "ledger.jsonl"
    return (
        ledger.is_file() and f'"event": "{event}", "group": "{stage}-' in ledger.read_text().rpartition('"rewound"')[2]
    )


def dies_between_micro_batches(mark):
    """A learner's rank that, if the file is there, kills itself after a gradient was added that is not the last one."""

    def rank(setup):
        import os
        import signal

        from actors.learner.deepspeed_engine import DeepSpeedEngine
        from actors.learner.rank_loop import learner_rank

        backward = DeepSpeedEngine.backward

        def deadly(self, loss, last):
            backward(self, loss, last)
            if not last and mark.exists():
                mark.rename(mark.with_suffix(".done"))
                os.kill(os.getpid(), signal.SIGKILL)

        DeepSpeedEngine.backward = deadly
        learner_rank(setup)

    return rank


def test_a_resumed_run_with_killed_and_hanging_workers_ends_with_the_same_weights(run, tmp_path, capsys, monkeypatch):
    """The newest commit is removed, as if the process had died before it; the open stage is made again. There a rollout
    worker is killed, the learner is killed between two micro-batches of an update, and then it hangs. Weights go
    straight to the workers; in the other run they go through the store."""
    again, mark = tmp_path / "again", tmp_path / "fault"
    mark.touch()
    monkeypatch.setattr("actors.learner.handle.learner_rank", dies_between_micro_batches(mark))
    shutil.copytree(run, again)
    summary = json.loads((again / "summary.json").read_text())
    (again / "summary.json").write_text(json.dumps(summary | {"status": "running"}))
    shutil.rmtree(again / "model")
    newest = max((again / "checkpoints").iterdir())
    shutil.rmtree(newest)

    def disturb():
        wait_until(lambda: '"rewound"' in (again / "ledger.jsonl").read_text() and booked(again, "issued", "open"))
        wait_until(lambda: process("ray::rollout-0 v", "ray::RolloutWorker.")).kill()
        wait_until(lambda: booked(again, "trained", "open"))
        wait_until(lambda: process("ray::learner-0 v")).suspend()

    train_beside(
        disturb, load_recipe(again / "recipe.yaml", ["learner.silent_s=25", "transport=collective"]), again, resume
    )
    assert same(weights(again), weights(run))
    assert events(again) == events(run)
    assert json.loads((again / "summary.json").read_text())["stages"] == summary["stages"]
    told = capsys.readouterr().out
    assert re.search(r"rollout-0 on [\d.]+ died", told)
    assert reached(again)[-1] == 1 and not any(reached(run))
    assert re.search(
        r"learner rank 0 on [\d.]+: gave no sign of life for longer than learner.silent_s\); all 1 start anew", told
    )
    assert re.search(r"learner ranks died during grpo \(learner rank 0 on [\d.]+: its process is gone\)", told)
    assert mark.with_suffix(".done").exists() and (again / "ledger.jsonl").read_text().count('"rewound"') == 3


def test_the_number_of_workers_and_a_killed_one_change_no_task_and_no_seed(run, tmp_path, capsys):
    """Two rollout workers, two reward workers and two learner ranks (ZeRO-2) against one of each.

    A rank is killed before anything is committed, while the workers wait for its weights: the run starts again. Commits
    are kept elsewhere.
    """
    path, far = tmp_path / "wide", tmp_path / "far"
    settings = [
        *SHORT,
        "rollout.workers=2",
        "reward.workers=2",
        "learner.workers=2",
        "learner.zero_stage=2",
        "rollout.cpus=0.25",
        "learner.cpus=0.25",
        "transport=collective",
        f"checkpoint.storage=file://{far}",
    ]
    train_beside(lambda: wait_until(lambda: process("ray::learner-1 v0")).kill(), load_recipe(SMOKE, settings), path)
    first = 2 * 8 + 8  # groups: behind them the other run dropped some
    issued, theirs = ([e for e in events(p) if e["event"] == "issued"] for p in (path, run))
    assert len(issued) == 32 and issued[:first] == theirs[:first]
    one, two = (json.loads((p / "summary.json").read_text())["stages"][0]["scores"] for p in (run, path))
    assert one[0][0] == two[0][0]
    assert all((a - b).abs().max() < 0.02 for a, b in zip(weights(path).values(), weights(run).values(), strict=True))
    assert re.search(
        r"learner ranks died during \w+ \(learner rank 1 on [\d.]+: its process is gone\); all 2 start anew; \d+ steps",
        capsys.readouterr().out,
    )
    assert set(reached(path)) == {1}
    assert len(list((far / "wide" / "checkpoints").iterdir())) == 2 and not (path / "checkpoints").exists()


def test_a_run_that_generates_ahead_can_be_asked_scaled_stopped_and_resumed(ray_session, tmp_path):
    """It is stopped with two learner ranks (ZeRO-2) and weights that go straight to the workers, and goes on with one
    rank and the store."""
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
        "learner.workers=2",
        "learner.zero_stage=2",
        "learner.cpus=0.25",
        "transport=collective",
    ]
    asked = {}

    def ask_it():
        wait_until(lambda: booked(path, "trained", "closed"))
        asked["status"] = read_status(path)
        send_request(path, ControlRequest("scale", rollout=2, reward=2))
        send_request(path, ControlRequest("pause"))
        wait_until(lambda: read_status(path)["status"] == "paused")
        wait_until(lambda: read_status(path)["workers"] == {"rollout": {"ready": 2}, "reward": {"ready": 2}})
        asked["paused"] = read_status(path)
        send_request(path, ControlRequest("resume"))
        wait_until(lambda: read_status(path)["step"] > asked["paused"]["step"])
        send_request(path, ControlRequest("stop"))

    train_beside(ask_it, load_recipe(SMOKE, settings), path)
    assert asked["status"]["stage"] == "closed" and asked["status"]["ledger"]["trained"] >= 8
    assert read_status(path)["status"] == "stopped" and not (path / "model").exists()
    assert resume(load_recipe(path / "recipe.yaml", ["learner.workers=1", "transport=store"]), path) == 0
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
