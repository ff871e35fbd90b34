"""A run that imitates its own best answers and then learns from a teacher, on the real stack; and its resumption."""

import json
import shutil
from collections import Counter

import pyarrow.parquet as pq
import pytest

from cluster.config.recipe_file import load_recipe
from cluster.reporting.compare import compare, write_comparison
from cluster.run.launch import resume, start
from tests.support.short_run import SHORT, SMOKE
from tests.support.whole_runs import events, same, weights

GATE = "gate: {measure: closed_accuracy, every: 2, max_steps: 2}"


def settings(model):
    """The model of an earlier run learns on, and is its own teacher and reference."""
    stages = (
        "{name: sft, kind: sft, tasks: {binary: 1}, gate: {measure: closed_accuracy, every: 30, max_steps: 30}, "
        "training: {lr: 1.0e-3, tasks_per_step: 16}}",
        f"{{name: own, kind: rft, tasks: {{binary: 1}}, {GATE}, training: {{lr: 1.0e-4, tasks_per_step: 8, "
        "group_size: 8, keep: 2}}",
        f"{{name: taught, kind: grpo, tasks: {{binary: 1, diagnosis: 1}}, {GATE}, training: {{lr: 1.0e-4, "
        f"tasks_per_step: 8, group_size: 4, teacher: {{path: {model}, families: [binary]}}, kl: 0.05, "
        f"reference_path: {model}}}}}",
    )
    return [
        *SHORT,
        f"model={{path: {model}}}",
        f"stages=[{', '.join(stages)}]",
        "checkpoint.every_minutes=0",
        "guards=[]",
        "rollout.temperature=0.3",  # a model that has learnt so little is seldom right by chance
    ]


@pytest.mark.slow
def test_a_run_learns_from_its_own_answers_and_from_a_teacher(run, tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.run.recovery.COMMIT_SHARE", 0)  # every step is committed
    path, again = tmp_path / "taught", tmp_path / "again"
    recipe = load_recipe(SMOKE, [f"root={tmp_path}", *settings(run / "model")])
    assert start(recipe, path) == 0
    steps = [row for row in pq.read_table(path / "metrics.parquet").to_pylist() if row["event"] == "step"]
    own, taught = ([row for row in steps if row["stage"] == name] for name in ("own", "taught"))
    booked = [(event["event"], event["group"].partition("-")[0]) for event in events(path)]
    trained, dropped = (Counter(booked)[event, "own"] for event in ("trained", "dropped"))
    assert trained == sum(8 - row["tasks_without_accepted"] for row in own) and trained + dropped == 16
    for row in own:
        assert 0 < row["accepted"] <= 1 and trained <= sum(r["learnt_responses"] for r in own) <= 2 * trained
        assert row["loss"] > 0 and row["flat_groups"] is None
    for row in taught:
        assert row["teacher_kl"] == row["teacher_kl_binary"] > 0 and row["kl"] > 0
        assert row.get("teacher_kl_diagnosis") is None
    page = (path / "report.html").read_text(encoding="utf-8")
    assert all(words in page for words in ("KL to the teacher", "Accepted responses", "rejection sampling"))
    assert "teacher model (weight 1)" in (path / "model" / "README.md").read_text(encoding="utf-8")
    write_comparison(compare([run, path]), tmp_path / "compared.html")
    assert "KL to the teacher" in (tmp_path / "compared.html").read_text(encoding="utf-8")

    shutil.copytree(path, again)
    summary = json.loads((again / "summary.json").read_text())
    (again / "summary.json").write_text(json.dumps(summary | {"status": "running"}))
    shutil.rmtree(again / "model")
    left, newest = sorted(path.parent for path in (again / "checkpoints").glob("*/manifest.json"))[-2:]
    shutil.rmtree(newest)
    assert not (left / "learner" / "reference.safetensors").exists() and not (left / "reference.safetensors").exists()
    assert resume(load_recipe(again / "recipe.yaml"), again) == 0  # in the middle of the stage with the teacher
    assert same(weights(again), weights(path)) and events(again) == events(path)
