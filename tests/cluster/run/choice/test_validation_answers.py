"""Validation tasks are asked once for each version. The workers' answers are written here."""

from types import SimpleNamespace

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.measures import Result
from cluster.run.choice.validation_answers import ValidationAnswers
from cluster.run.progress.phases import PhaseClock
from cluster.run.progress.position import Position
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.sets.task_table import read_task_table
from curriculum.taskset import write_tasks
from rewards.config import RewardConfig
from rewards.score import score
from tests.support.short_run import SMOKE


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    write_tasks(draw_phantom_set(PhantomConfig(train=6, val=6, test=2), folder), folder)
    table = read_task_table(folder)
    return {split: table.of_split(split) for split in ("train", "val", "test")}


@pytest.fixture
def asked(monkeypatch):
    """The families of the tasks of each call."""
    calls = []

    def answer(tasks, rollouts, rewards):
        calls.append([task.family for task in tasks])
        return [Result(t, t.reference or "", score(t, t.reference or "", RewardConfig())) for t in tasks]

    monkeypatch.setattr("cluster.run.choice.validation_answers.answer", answer)
    return calls


def test_each_family_is_asked_once_whoever_wants_its_answers(tasks, asked, tmp_path):
    timeline = SimpleNamespace(add=lambda *_, **__: None)
    published = []
    context = SimpleNamespace(
        recipe=load_recipe(SMOKE, ["evaluation.val_per_family=4"]),
        tasks=tasks,
        workers=SimpleNamespace(rollouts=None, rewards=None),
        phases=PhaseClock(timeline, Position()),
    )
    answers = ValidationAnswers(context, SimpleNamespace(publish=lambda: published.append(1)), tasks["val"])
    binary = answers.results("closed_accuracy", ["binary"])
    assert asked == [["binary"] * 4] and [result.task.family for result in binary] == ["binary"] * 4
    both = answers.scores("closed_accuracy")
    assert asked[1:] == [["single_choice"] * 4], "only what is missing"
    assert both.measures()["closed_accuracy"][0] == 1 and len(both.ids) == 8
    assert len(answers.scores("open_micro_f1").ids) == 4 and asked[2:] == [["diagnosis"] * 4]
    assert len(answers.scores("closed_accuracy", ["single_choice"]).ids) == 4 and len(asked) == 3
    assert len(published) == 3 and context.phases.seconds["evaluate"] >= 0
    answers.clear()
    assert answers.results("closed_accuracy") == [*both_results(answers)] and asked[3:] == [
        ["binary"] * 4 + ["single_choice"] * 4
    ]


def both_results(answers):
    return answers.results("closed_accuracy", ["binary"]) + answers.results("closed_accuracy", ["single_choice"])
