"""The Python interface. `train` itself makes the finished run that tests share."""

import json
import subprocess
import sys

import pytest

import cluster
from cluster import api
from tests.support.short_run import SMOKE

CLOSED = {"domain": "closed", "options": {"A": "Mass", "B": "Edema"}, "gold": ["B"]}


def test_importing_it_loads_nothing_heavy():
    code = "import cluster, sys; print(sorted({'torch', 'ray', 'pydantic', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    assert all(getattr(cluster, name) is not None for name in cluster.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = cluster.nonsense


def test_settings_are_laid_over_a_recipe(tmp_path):
    recipe = cluster.load_recipe(SMOKE, ["seed=7", "stages.closed.gate.max_steps=3"])
    assert (recipe.seed, recipe.stages[1].gate.max_steps) == (7, 3)
    with pytest.raises(cluster.UserError, match="no such recipe"):
        cluster.load_recipe(tmp_path / "none.yaml")


def test_a_file_is_scored_by_the_rules_that_are_passed(tmp_path):
    path = tmp_path / "responses.jsonl"
    path.write_text(json.dumps(CLOSED | {"response": "<think>Haze.</think><answer>B</answer>"}))
    assert [verdict.total for verdict in cluster.score_file(path)] == [pytest.approx(1.0)]
    halved = cluster.RewardConfig(outcome=0.45, process=0.2, reason=0.1)
    assert [verdict.total for verdict in cluster.score_file(path, halved)] == [pytest.approx(0.55)]


def test_a_run_is_read_from_its_folder(run):
    record = cluster.read_run(run)
    assert record.summary["status"] == "finished"
    assert [stage.name for stage in record.stages] == ["sft", "closed", "open"]
    assert len([row for row in record.metrics if row["event"] == "step"]) == record.summary["steps"] == 16


def test_a_folder_that_is_taken_is_not_trained_in(run):
    with pytest.raises(cluster.UserError, match="exists already"):
        cluster.train(cluster.load_recipe(SMOKE), run)


def test_a_complete_run_is_not_resumed(run):
    with pytest.raises(cluster.UserError, match="complete"):
        cluster.resume(run)


def test_what_cannot_be_evaluated_is_refused_before_workers_start(run, tmp_path):
    with pytest.raises(cluster.UserError, match="no such split"):
        cluster.evaluate([run / "model"], run / "data", "holdout")
    with pytest.raises(cluster.UserError, match="--model"):
        cluster.evaluate([tmp_path], run / "data")


def test_a_run_that_failed_raises_why(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"status": "failed", "why": "the disk is full"}))
    with pytest.raises(cluster.RunFailed, match="the disk is full") as failed:
        api._ended(1, tmp_path)
    assert failed.value.folder == tmp_path
    with pytest.raises(KeyboardInterrupt):
        api._ended(130, tmp_path)
