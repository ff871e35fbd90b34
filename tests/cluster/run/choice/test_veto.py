"""Another hospital's validation tasks veto what model/ may hold, in whole runs with scripted scores."""

from types import SimpleNamespace

import numpy as np
import pytest

from cluster.config.recipe_file import load_recipe
from cluster.measures import Scores
from cluster.run.choice.veto import Veto
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.sets.mapped import hold_tasks
from curriculum.sets.task_table import Part, TaskTable
from tests.cluster.run.choice.scripted_run import ScriptedRun, kill
from tests.cluster.run.choice.test_looking_back import SINGLE, right
from tests.support.results import opened
from tests.support.short_run import SMOKE

SOURCES = "data={sources: [{name: home, tasks: home}, {name: away, tasks: away, splits: [val]}]}"
WORKERS = SimpleNamespace(rollouts=None, rewards=None)
VETO = [SOURCES, "checkpoint.best.veto={source: away, max_loss: 0.05}"]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """By split: those of `home`, and in val those of `away` as well."""
    folder, parts = tmp_path_factory.mktemp("tasks"), []
    for name in ("home", "away"):
        config = PhantomConfig(train=40, val=40, test=20, hospital=name)
        drawn = [task for task in draw_phantom_set(config, folder / name) if name == "home" or task.split == "val"]
        parts.append(Part(name, hold_tasks(drawn)))
    table = TaskTable(parts, np.arange(sum(len(part.tasks) for part in parts)))
    return {split: table.of_split(split) for split in ("train", "val", "test")}


def home_alone(tasks):
    return {split: of_split.of_sources(["home"]) for split, of_split in tasks.items()}


def elsewhere(*lost):
    """Of 20 tasks of `away` 10 are right, and 2 at the versions `lost`."""
    return lambda family, version: 2 if version in lost else 10


def test_a_version_that_lost_too_much_elsewhere_is_not_exported(tasks, tmp_path, monkeypatch):
    run = ScriptedRun(tmp_path / "run", tasks, right, monkeypatch, VETO, elsewhere(12))
    summary = run.train()
    assert SINGLE[12] == max(SINGLE.values()) and run.model == summary["model"]["step"] == 14
    [veto] = summary["vetoes"]
    assert (veto["stage"], veto["step"], veto["stage_step"]) == ("second", 12, 4)
    assert veto["why"].startswith("source away vetoes it: validation closed accuracy there fell by 0.400 [0.")
    assert veto["why"].endswith("since stage first began, more than 0.05")
    assert any(line == f"step 12 (second 4): {veto['why']}" for line in run.said)
    assert [version["step"] for version in summary["kept"]] == [8, 14, 18]


@pytest.mark.parametrize("max_loss, right_elsewhere", [(0.05, 9), (0.9, 2)])
def test_a_fall_within_the_interval_or_the_allowance_is_no_veto(
    max_loss, right_elsewhere, tasks, tmp_path, monkeypatch
):
    settings = [SOURCES, f"checkpoint.best.veto={{source: away, max_loss: {max_loss}}}"]

    def slightly(family, version):
        return right_elsewhere if version == 12 else 10

    run = ScriptedRun(tmp_path / "run", tasks, right, monkeypatch, settings, slightly)
    assert "vetoes" not in run.train() and run.model == 12


def test_only_versions_that_may_be_exported_are_asked_elsewhere(tasks, tmp_path, monkeypatch):
    run = ScriptedRun(tmp_path / "run", tasks, right, monkeypatch, VETO, elsewhere())
    run.train()
    assert run.asked_elsewhere == [0, 10, 12], "at the start; then 10, the first one, and 12, which is better"


def test_the_source_decides_nothing_else(tasks, tmp_path, monkeypatch):
    """Gates and scores are those of a run that has no such source."""
    plain = ScriptedRun(tmp_path / "plain", home_alone(tasks), right, monkeypatch)
    expected = plain.train()
    run = ScriptedRun(tmp_path / "run", tasks, right, monkeypatch, VETO, elsewhere())
    summary = run.train()
    assert [stage["scores"] for stage in summary["stages"]] == [stage["scores"] for stage in expected["stages"]]
    assert summary["kept"] == expected["kept"] and run.model == plain.model
    assert plain.asked_elsewhere == []


def test_if_all_are_vetoed_the_best_of_them_is_exported_and_says_so(tasks, tmp_path, monkeypatch):
    run = ScriptedRun(tmp_path / "run", tasks, right, monkeypatch, VETO, elsewhere(*SINGLE))
    summary = run.train()
    assert run.model == 12 and summary["model"]["why"].endswith("; vetoed by source away")
    assert [veto["step"] for veto in summary["vetoes"]] == list(SINGLE)


def test_versions_are_compared_with_the_model_that_reinforcement_learning_began_with(tasks):
    recipe = load_recipe(SMOKE, VETO)
    said, asked = [], []
    display = SimpleNamespace(say=said.append)
    context = SimpleNamespace(recipe=recipe, tasks=tasks, display=display, workers=WORKERS, phases=None)
    veto = Veto(context, publisher=None)
    veto.answers = SimpleNamespace(clear=lambda: None, scores=lambda *measure: asked.append(measure) or named(30))
    for stage in recipe.stages:
        veto.stage_opens(stage)
        assert len(asked) == (stage.name != "sft"), "it is asked where the first stage of RL begins, and never again"
    assert asked == [("open_micro_f1", ())], "the measure of the last stage"
    veto.answers.scores = lambda *measure: named(10)
    assert veto.judge()["away"][0] == pytest.approx(-0.5) and not said


def named(right):
    """40 answers about one finding each, of which so many are right."""
    return Scores([opened(i, ("Mass",), "Mass" if i < right else "Edema") for i in range(40)], 200)


def test_a_resumed_run_compares_with_the_same_model(tasks, tmp_path, monkeypatch):
    plain = ScriptedRun(tmp_path / "plain", tasks, right, monkeypatch, VETO, elsewhere(12))
    expected = plain.train()
    run = ScriptedRun(tmp_path / "run", tasks, right, monkeypatch, VETO, elsewhere(12))
    kill(run, 5)
    summary = run.train(resumed=True)
    assert run.asked_elsewhere.count(0) == 1, "the first model is gone by then"
    assert run.model == plain.model == 14
    for part in ("vetoes", "kept", "model"):
        assert summary[part] == expected[part]


def test_a_veto_that_is_set_too_late_says_so(tasks, tmp_path, monkeypatch):
    kill(ScriptedRun(tmp_path / "run", home_alone(tasks), right, monkeypatch), 5)
    run = ScriptedRun(tmp_path / "run", tasks, right, monkeypatch, VETO, elsewhere(12))
    assert "vetoes" not in run.train(resumed=True)
    assert "source away cannot veto: checkpoint.best.veto was set after stage first had begun" in run.said
