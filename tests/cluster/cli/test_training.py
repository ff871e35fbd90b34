"""`curlvpr train` and `resume` with bad input: one line that names the place, exit code 2, nothing left behind."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from cluster.record.lease import Lease
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.taskset import write_tasks

SMOKE = Path(__file__).parents[3] / "recipes" / "smoke.yaml"
pytestmark = pytest.mark.usefixtures("ray_session")  # a cluster that is there, so that none is started for each


def recipe(tmp_path, **changes):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | changes))
    return path


@pytest.mark.parametrize(
    "setting, words",
    [
        ("rolout.workers=2", "rolout: unknown key; did you mean 'rollout'?"),
        (
            "stages.closed.training.group_sise=4",
            "stages.1.training.group_sise: unknown key; did you mean 'group_size'?",
        ),
        ("stages.1.gate.treshold=0.5", "stages.1.gate.treshold: unknown key; did you mean 'threshold'?"),
        ("reward.rules.proces=0.1", "reward.rules.proces: unknown key; did you mean 'process'?"),
        ("rollout.workers=many", "rollout.workers: input should be a valid integer"),
        ("stages.closed.kind=ppo", "stages.1"),
        ("reward.rules.process=2", "reward.rules: process 2 and reason 0.2 together must weigh less than outcome 0.9"),
        ("stages.shut.gate.max_steps=3", "stages has no 'shut'; it has ['sft', 'closed', 'open']"),
        ("seed", "a setting is written a.b=c"),
        ("stages.closed.tasks={boxes: 1}", "the train split has no task of family 'boxes'; it has binary"),
        (
            "stages.open.tasks={binary: 1}",
            "stages.open.gate.measure: open_micro_f1 is of tasks whose answers are names; none of",
        ),
        ("rollout.workers=100", "rollout.workers: 100 × 0.5 CPU is more than this cluster can have"),
        (
            "checkpoint.storage=here/there",
            "checkpoint.storage: here/there: neither an absolute path nor a URI such as s3://",
        ),
        (
            "checkpoint.storage=nowhere://there",
            "checkpoint.storage: nowhere://there: neither an absolute path nor a URI such as s3://",
        ),
        ("learner.freeze={layers: 4}", "learner.freeze.layers: 4 is too many, the language model has 3 layers"),
        ("learner={lora: {}, freeze: {vision: true}}", "learner: freeze: with lora nothing but adapters is trained"),
        ("stages.closed.training.tasks_per_step=1", "stages.closed.training.tasks_per_step: 1"),
    ],
)
def test_a_wrong_setting_is_named(refused, setting, words):
    more = ["--set", "learner.workers=2"] if "tasks_per_step" in setting else []
    assert words in refused("train", SMOKE, "--set", setting, *more)


def test_a_wrong_recipe_file_is_named(refused, tmp_path):
    assert "nowhere.yaml: no such recipe" in refused("train", "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("name: x\nstages: [a\n")
    assert "broken.yaml: broken YAML, line 3" in refused("train", "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert "a recipe is a mapping" in refused("train", "list.yaml")
    (tmp_path / "empty.yaml").write_text("name: x\n")
    assert "is missing" in refused("train", "empty.yaml")


def test_a_wrong_model_folder_is_named(refused, tmp_path, tiny_model):
    assert "model.path" in refused("train", recipe(tmp_path, model={"path": "nowhere"}))
    copy = tmp_path / "model"
    shutil.copytree(tiny_model, copy)
    (copy / "processor_config.json").unlink()
    line = refused("train", recipe(tmp_path, model={"path": str(copy)}))
    assert "has no preprocessor_config.json or processor_config.json (its image processor)" in line


@pytest.fixture
def task_set(tmp_path):
    folder = tmp_path / "tasks"
    tasks = list(draw_phantom_set(PhantomConfig(train=12, val=2, test=2), folder))
    write_tasks(tasks, folder)
    return folder, tasks


def test_an_image_that_is_no_image_is_named(refused, tmp_path, task_set):
    folder, tasks = task_set
    Path(tasks[5].images[0]).write_text("not a film")
    line = refused("train", recipe(tmp_path, data={"tasks": str(folder)}))
    assert Path(tasks[5].images[0]).name in line and "not an image that can be read" in line


def test_a_gold_outside_its_options_is_named(refused, tmp_path, task_set):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder, _ = task_set
    rows = pq.read_table(folder / "tasks.parquet").to_pylist()
    row = next(i for i, r in enumerate(rows) if r["family"] == "single_choice")
    rows[row]["gold"] = ["F"]
    pq.write_table(
        pa.Table.from_pylist(rows, schema=pq.read_schema(folder / "tasks.parquet")), folder / "tasks.parquet"
    )
    line = refused("train", recipe(tmp_path, data={"tasks": str(folder)}))
    assert f"row {row}" in line and "gold ['F'] is not among the options" in line


def test_a_taken_name_and_a_folder_that_is_no_run_are_named(refused, tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert "exists already" in refused("train", SMOKE, "--name", "mine")
    assert "no run folder" in refused("resume", "runs/mine")


def test_a_root_that_cannot_be_made_is_named(refused, tmp_path):
    (tmp_path / "file").write_text("")
    words = "the run folder cannot be made: {}/file/in/smoke: a part of this path is a file, where a folder is needed"
    assert words.format(tmp_path) in refused("train", SMOKE, "--set", "root=file/in")
    assert "proc/here: " in refused("train", SMOKE, "--set", "root=/proc/here")


def test_the_commits_of_another_run_are_not_mixed_with_those_of_a_new_one(refused, tmp_path):
    commit = tmp_path / "far" / "smoke" / "checkpoints" / "step-0000007"
    commit.mkdir(parents=True)
    (commit / "manifest.json").write_text("{}")
    line = refused("train", SMOKE, "--set", f"checkpoint.storage={tmp_path / 'far'}")
    assert "far/smoke/checkpoints has the commits of another run; choose another --name" in line
    assert commit.exists()


def test_a_place_that_another_run_commits_to_is_refused(refused, tmp_path):
    place = tmp_path / "far" / "smoke"
    place.mkdir(parents=True)
    with Lease(place):
        line = refused("train", SMOKE, "--set", f"checkpoint.storage={tmp_path / 'far'}")
    assert f"{place} belongs to a run in progress, in process {os.getpid()} on" in line


def test_a_name_that_is_taken_is_not_submitted(refused, tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    shutil.copy(SMOKE, tmp_path / "smoke.yaml")
    line = refused("submit", "smoke.yaml", "--name", "mine", "--set", f"root={tmp_path / 'runs'}")
    assert "--name mine: " in line and "exists already" in line
