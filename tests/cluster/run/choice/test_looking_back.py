"""Best versions and looks back in whole runs with scripted scores: the loop, its commits, a resume, a roll-back."""

import pytest

from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.sets.task_table import read_task_table
from curriculum.taskset import write_tasks
from tests.cluster.run.choice.scripted_run import STAGES, ScriptedRun, kill

SINGLE = {10: 10, 12: 16, 14: 11, 16: 9, 18: 8}
"""Of 20 single-choice tasks: the right ones at each version that the second stage validates; its best is 12."""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    write_tasks(draw_phantom_set(PhantomConfig(train=40, val=40, test=20), folder), folder)
    table = read_task_table(folder)
    return {split: table.of_split(split) for split in ("train", "val", "test")}


def right(family, version, binary=()):
    """Yes or no is learnt in the first stage, to 20 of 20; in the second `binary` says what is left of it."""
    if family == "binary":
        return dict(binary).get(version, min(20, 5 + 2 * version))
    return SINGLE.get(version, 8 if version > 8 else version)


def forgets(family, version):
    """What yes or no was learnt is lost at versions 12 and 14, and is there again at 16."""
    return right(family, version, {12: 8, 14: 8}.items())


def second_stage(settings):
    """The recipe's stages, with more settings of the second one."""
    return [STAGES.replace("max_steps: 10}}]", f"max_steps: 10}}, {settings}}}]")]


def commits(run):
    return {path.name: (path / "manifest.json").is_file() for path in sorted((run.path / "checkpoints").iterdir())}


def test_the_best_of_the_last_stage_is_exported_and_tested(tasks, tmp_path, monkeypatch):
    run = ScriptedRun(tmp_path / "run", tasks, right, monkeypatch)
    summary = run.train()
    assert run.model == summary["model"]["step"] == 12 and summary["version"] == summary["steps"] == 18
    assert [(version["stage"], version["step"]) for version in summary["kept"]] == [
        ("first", 8),
        ("second", 12),
        ("second", 18),
    ]
    assert commits(run) == {"step-0000008": False, "step-0000012": True, "step-0000018": True}, "False: weights alone"
    last = summary["stages"][1]["evaluation"]
    assert last["model"]["closed_accuracy"] > last["end"]["closed_accuracy"]
    assert last["model"]["version"] == 12 and last["end"]["version"] == 18


def test_the_last_one_is_exported_where_the_recipe_says_so(tasks, tmp_path, monkeypatch):
    run = ScriptedRun(tmp_path / "run", tasks, right, monkeypatch, ["checkpoint={best: {keep: 0}, export: last}"])
    summary = run.train()
    assert run.model == 18 and summary["model"]["why"] == "the last version (checkpoint.export: last)"
    assert (
        commits(run) == {"step-0000008": True, "step-0000018": True}
        and "model" not in summary["stages"][1]["evaluation"]
    )


@pytest.mark.parametrize(
    "commit", (2, pytest.param(5, marks=pytest.mark.slow), pytest.param(7, marks=pytest.mark.slow), 8)
)
def test_a_run_that_dies_between_a_commit_and_the_removal_of_others_ends_as_if_it_had_not(
    commit, tasks, tmp_path, monkeypatch
):
    plain = ScriptedRun(tmp_path / "plain", tasks, right, monkeypatch)
    expected = plain.train()
    run = ScriptedRun(tmp_path / "run", tasks, right, monkeypatch)
    kill(run, commit)
    summary = run.train(resumed=True)
    assert (run.model, commits(run)) == (plain.model, commits(plain))
    for part in ("stages", "kept", "model"):
        assert summary[part] == expected[part]


def test_a_stage_that_forgets_rehearses_more_and_goes_on_beyond_its_threshold(tasks, tmp_path, monkeypatch):
    guard = "rehearsal: 0.1, rehearse: {binary: 1}, forget: {drop: 0.1}"
    settings = second_stage(guard)
    settings[0] = settings[0].replace("max_steps: 10}", "max_steps: 10, threshold: 0.4}")
    plain = ScriptedRun(tmp_path / "plain", tasks, right, monkeypatch, settings)
    assert plain.train()["stages"][1]["steps"] == 2, "without a fall the threshold ends the stage"
    settings[0] = settings[0].replace("threshold: 0.4", "threshold: 0.55")
    run = ScriptedRun(tmp_path / "run", tasks, forgets, monkeypatch, settings)
    summary = run.train()
    assert [(event["step"], event["did"]) for event in summary["forgetting"]] == [
        (12, "rehearsal 10% → 20%"),
        (14, "rehearsal 20% → 40%"),
        (16, "rehearsal 40% → 20%"),
    ]
    assert summary["forgetting"][0]["why"].startswith("stage first lost 0.600 [")
    assert any(line.startswith("stage second reached its threshold and goes on: stage first lost") for line in run.said)
    assert summary["stages"][1]["reason"] == "maximum"
    assert run.model == 10, "12 has the best score, and has lost what the first stage taught"


def test_a_stage_that_forgets_goes_back_three_times_with_a_lower_rate(tasks, tmp_path, monkeypatch):
    settings = second_stage("forget: {drop: 0.1, do: roll_back}")
    run = ScriptedRun(tmp_path / "run", tasks, forgets, monkeypatch, settings)
    summary = run.train()
    did = [event["did"] for event in summary["forgetting"]]
    assert [words.partition(",")[0] for words in did[:3]] == ["back from step 12 to step 10"] * 3
    assert did[3:] == ["nothing is done: the run was rolled back 3 times"] * 2
    rates = [rate / run.learner.rates[0] for rate in run.learner.rates]
    assert rates == pytest.approx([1.0] * 12 + [0.1] * 2 + [0.01] * 2 + [0.001] * 8)
    assert summary["steps"] == 18 and summary["stages"][1]["steps"] == 10 and run.model == 10
    assert commits(run) == {"step-0000008": False, "step-0000010": True, "step-0000018": True}
