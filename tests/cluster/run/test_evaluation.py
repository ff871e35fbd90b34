"""Which held-out tasks a run asks, and what the view alone answers. Answers of models: tests/end_to_end/test_run.py."""

from collections import Counter

import numpy as np

from cluster.config.recipe_file import load_recipe
from cluster.run import evaluation
from curriculum.sets.mapped import hold_tasks
from curriculum.sets.task_table import Part, TaskTable
from curriculum.task import Task
from rewards.config import RewardConfig
from tests.support.short_run import SMOKE


def binary(id, gold, view="", family="binary"):
    return Task(
        id=id,
        domain="closed",
        family=family,
        question="Edema?",
        options={"A": "Yes", "B": "No"},
        gold=(gold,),
        images=(),
        view=view,
    )


def report(id):
    return Task(
        id=id, domain="open", form="text", family="report", question="Findings?", gold=("Clear lungs.",), images=()
    )


def test_at_most_so_many_of_each_family_always_the_same_in_order():
    tasks = [binary(f"{family}{number}", "A", family=family) for number in range(20) for family in ("binary", "view")]
    table = TaskTable.of(tasks)
    chosen = evaluation.held_out(table, ["view", "binary"], 5)
    assert [task.family for task in chosen] == ["view"] * 5 + ["binary"] * 5
    for family in ("view", "binary"):
        numbers = [int(task.id.removeprefix(family)) for task in chosen if task.family == family]
        assert numbers == sorted(set(numbers))
    assert evaluation.held_out(table, ["view", "binary"], 5) == chosen
    assert evaluation.held_out(table, ["binary"], 100) == [task for task in tasks if task.family == "binary"]


def test_each_source_is_tested_as_much_as_it_has():
    sizes = {"large": 300, "small": 4, "middle": 40}
    parts = [Part(name, hold_tasks([binary(f"q{n}", "A") for n in range(size)])) for name, size in sizes.items()]
    chosen = evaluation.held_out(TaskTable(parts, np.arange(344)), ["binary"], 30)
    assert Counter(task.source for task in chosen) == {"large": 13, "small": 4, "middle": 13}


def test_families_that_only_sft_learns_from_are_not_tested():
    tasks = TaskTable.of([binary("a", "A"), report("b"), binary("c", "A", family="single_choice")])
    recipe = load_recipe(SMOKE, ["stages.sft.tasks={binary: 1, report: 1}", "evaluation.test_per_family=1"])
    assert evaluation.tested_families(recipe, tasks) == {"binary": "letters", "single_choice": "letters"}
    test = TaskTable.of([binary("d", "A"), binary("e", "B"), report("f")])
    assert [task.family for task in evaluation.test_tasks(recipe, {"train": tasks, "test": test})] == ["binary"]


def test_the_view_alone_is_right_as_often_as_it_tells():
    train = [binary(f"ap{n}", "A", "AP") for n in range(3)] + [binary(f"pa{n}", "B", "PA") for n in range(3)]
    test = [binary("one", "A", "AP"), binary("two", "A", "PA"), binary("three", "B", "PA")]
    results = evaluation.answer_by_view(TaskTable.of(train), test, RewardConfig())
    assert {result.task.id: result.verdict.outcome for result in results} == {"one": 1.0, "two": 0.0, "three": 1.0}
    assert evaluation.answer_by_view(TaskTable.of(train), [binary("one", "A")], RewardConfig()) is None
