"""`curlvpr eval`: what it is given, what it prints, and, on the real stack, that it measures what a run measured."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from cluster.cli.app import main
from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.measures import Scores
from cluster.standalone.evaluate import (
    EvaluationSet,
    check_new_file,
    find_scorer,
    find_subject,
    find_subjects,
    find_tasks,
    report,
)
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.taskset import write_tasks
from tests.support.results import closed

SMOKE = Path(__file__).parents[3] / "recipes" / "smoke.yaml"


@pytest.fixture(scope="module")
def task_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    write_tasks(draw_phantom_set(PhantomConfig(train=12, val=2, test=4), folder), folder)
    return folder


def test_the_report_is_json_with_a_value_and_an_interval_for_everything(reported):
    assert json.loads(json.dumps(reported, allow_nan=False)) == reported
    measured = reported["models"][0]["measures"]
    accuracy = measured["overall"]["closed_accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"] and accuracy["tasks"] == accuracy["patients"] == 40
    assert sum(measured["strata"]["view"][view]["closed_accuracy"]["tasks"] for view in ("PA", "AP")) == 40
    assert reported["frequency"]["group"] == {"Mass": "head", "Edema": "tail"}
    assert measured["families"]["diagnosis"]["micro_f1"] == measured["overall"]["open_micro_f1"]


def test_models_are_compared_with_the_first(reported):
    first, second, third = reported["models"]
    gain = second["difference"]["overall"]["closed_accuracy"]
    assert (
        gain["value"]
        == pytest.approx(
            second["measures"]["overall"]["closed_accuracy"]["value"]
            - first["measures"]["overall"]["closed_accuracy"]["value"]
        )
        and gain["low"] > 0
    )
    assert "difference" not in first
    same = third["difference"]["strata"]["view"]["PA"]["closed_accuracy"]
    assert (same["value"], same["low"], same["high"]) == (0, 0, 0)


def test_few_patients_have_a_value_and_no_interval(tiny_model):
    scores = [Scores([closed(i, i % 2) for i in range(9)], 100, shares={})]
    leaf = report([find_subject(tiny_model)], scores, EvaluationSet([], {}))["models"][0]["measures"]["overall"][
        "closed_accuracy"
    ]
    assert leaf == {"value": pytest.approx(4 / 9), "low": None, "high": None, "tasks": 9, "patients": 9}


def test_a_model_of_a_run_is_asked_as_the_run_asked_it(tiny_model, tmp_path):
    run = tmp_path / "mine"
    shutil.copytree(tiny_model, run / "model")
    recipe = load_recipe(SMOKE, ["prompt.system=Think hard.", "model.max_pixels=50000"])
    (run / "recipe.yaml").write_text(json.dumps(recipe.model_dump(mode="json")))
    subject = find_subject(run / "model")
    assert (subject.name, subject.prompt.system, subject.roles["rollout"]) == (
        "mine/model",
        "Think hard.",
        recipe.rollout,
    )
    assert subject.prompt.max_pixels == 50_000 and find_subject(tiny_model).prompt.max_pixels is None
    assert "recipe.yaml" in subject.settings
    assert "no recipe.yaml" in find_subject(tiny_model).settings
    assert [s.name for s in find_subjects([run / "model", tiny_model], None)] == ["mine/model", tiny_model.name]
    with pytest.raises(UserError, match="given twice"):
        find_subjects([tiny_model, tiny_model], None)


def test_what_cannot_be_used_is_named(task_set, tmp_path):
    with pytest.raises(UserError, match="--model: .*no such folder"):
        find_subject(tmp_path / "nowhere")
    with pytest.raises(UserError, match="--split best: no such split; splits are train, val, test"):
        find_tasks(task_set, "best")
    with pytest.raises(UserError, match="--tasks: .*no such file"):
        find_tasks(tmp_path, "test")
    with pytest.raises(UserError, match="no config.json"):
        find_scorer(tmp_path, None)
    (tmp_path / "answers.jsonl").write_text("")
    with pytest.raises(UserError, match="exists already"):
        check_new_file(tmp_path / "answers.jsonl")


def test_a_temperature_without_samples_is_refused(tiny_model, task_set, monkeypatch, capsys):
    arguments = ["eval", "--model", tiny_model, "--tasks", task_set, "--temperature", "0.5"]
    monkeypatch.setattr(sys, "argv", ["curlvpr", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == 2 and "--temperature: is of sampled responses" in capsys.readouterr().err


def test_tasks_of_a_run_are_found_with_the_shares_of_its_train_films(task_set):
    asked = find_tasks(task_set, "test")
    assert len(asked.tasks) == 4 * 5 and {task.split for task in asked.tasks} == {"test"}
    assert asked.shares and all(0 < share <= 1 for share in asked.shares.values())


def test_an_image_that_is_no_image_is_named_before_anything_starts(tmp_path):
    tasks = list(draw_phantom_set(PhantomConfig(train=1, val=1, test=1), tmp_path))
    write_tasks(tasks, tmp_path)
    (tmp_path / "images" / "000002.png").write_text("no")
    with pytest.raises(UserError, match="--tasks: task '000002-.*not an image"):
        find_tasks(tmp_path, "test")


@pytest.mark.early
def test_models_answer_on_the_real_engine(ray_session, tiny_model, task_set, tmp_path, monkeypatch, capsys):
    """The same folder under two names: equal answers, also sampled ones, differences of exactly nothing."""
    shutil.copytree(tiny_model, tmp_path / "copy")
    arguments = [
        "--model",
        tiny_model,
        "--model",
        tmp_path / "copy",
        "--tasks",
        task_set,
        "--json",
        "--samples",
        "3",
        "--temperature",
        "0.7",
        "--answers",
        tmp_path / "answers.jsonl",
    ]
    monkeypatch.setattr(sys, "argv", ["curlvpr", "eval", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        main()
    out = capsys.readouterr()
    assert exit.value.code == 0, out.err
    printed = json.loads(out.out)
    assert printed["count"] == 20 and printed["patients"] == 4 and printed["split"] == "test"
    assert "no recipe.yaml" in out.err and "20 of 20 answered" in out.err
    leaf = printed["models"][1]["difference"]["overall"]["format_rate"]
    assert leaf["value"] == 0 and leaf["tasks"] == 20
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len(rows) == 160 and [r["response"] for r in rows[:80]] == [r["response"] for r in rows[80:]]
    assert [r["sample"] for r in rows[20:80]] == [1, 2, 3] * 20 and not any("sample" in r for r in rows[:20])
    assert len({r["response"] for r in rows[20:23]}) > 1, "the samples of a task differ"
    for model in printed["models"]:
        assert model["samples"] == {"count": 3, "temperature": 0.7}
        assert set(model["measures"]["samples"]["closed"]) == {"pass@1", "pass@2", "pass@3", "maj@3"}
    assert printed["models"][1]["difference"]["samples"]["closed"]["pass@3"]["value"] == 0
