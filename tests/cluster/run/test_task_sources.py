"""Several task sets as the tasks of one run."""

import shutil
from pathlib import Path

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.run.task_sources import TaskSources
from curriculum.sets import decoding
from curriculum.taskset import write_tasks
from tests.support.task_sets import question

SMOKE = Path(__file__).parents[3] / "recipes/smoke.yaml"


def sources(*settings, said=None, **sets):
    described = ", ".join(f"{{name: {name}, {settings_of}}}" for name, settings_of in sets.items())
    recipe = load_recipe(SMOKE, [f"data={{sources: [{described}]}}", *settings])
    return TaskSources(recipe, (said if said is not None else []).append)


@pytest.fixture
def one_and_two(tmp_path):
    write_tasks([question(f"q{n}", patient=f"p{n}", source="NIH") for n in range(20)], tmp_path / "one")
    theirs = [question(f"q{n}", family="ab"[n % 2], split=("train", "val", "test")[n % 3]) for n in range(12)]
    write_tasks(theirs, tmp_path / "two")
    return {"one": f"tasks: {tmp_path / 'one'}", "two": f"tasks: {tmp_path / 'two'}"}


def ids(found):
    return [task.id for task in found.table()]


def test_the_tasks_of_all_sources_are_one_table(one_and_two):
    assert ids(sources(**one_and_two)) == [*(f"one/q{n}" for n in range(20)), *(f"two/q{n}" for n in range(12))]


def test_a_source_may_be_used_in_part(one_and_two):
    one, two = one_and_two["one"] + ", limit: 5", one_and_two["two"] + ", families: [b], splits: [test, val]"
    used = ids(sources(one=one, two=two))
    assert used == ids(sources(one=one, two=two)) and sum(id.startswith("one/") for id in used) == 5
    assert [id for id in used if id.startswith("two/")] == ["two/q1", "two/q5", "two/q7", "two/q11"]


def test_a_bad_row_names_its_source_or_is_dropped(one_and_two, tmp_path):
    bad = [question("good"), question("bad", images=(str(tmp_path / "none.png"),))]
    write_tasks(bad, tmp_path / "bad")
    sets = one_and_two | {"bad": f"tasks: {tmp_path / 'bad'}"}
    with pytest.raises(
        UserError, match=r"^data\.sources\.bad\.tasks: .*row 1 \(0-based\), task 'bad': .*no such image file"
    ):
        sources(**sets)
    found = sources("data.drop_bad_rows=true", **sets)
    assert found.dropped == {"image": 1} and ids(found)[-1] == "bad/good"


def test_what_another_source_holds_out_is_refused_by_name_or_dropped(one_and_two, tmp_path):
    write_tasks([question("t", patient="p3", source="NIH", split="test")], tmp_path / "test_set")
    sets = one_and_two | {"held": f"tasks: {tmp_path / 'test_set'}"}
    words = (
        r"^data\.sources\.one\.tasks: .*row 3 .*task 'q3': patient 'p3' of NIH is held out by source 'held'; data\.drop"
    )
    for _ in range(2):  # the second time it is known
        with pytest.raises(UserError, match=words):
            sources(**sets)
    found = sources("data.drop_bad_rows=true", **sets)
    assert found.dropped == {"two splits": 1} and "one/q3" not in ids(found) and "held/t" in ids(found)


def test_what_was_checked_is_not_checked_again(one_and_two, monkeypatch):
    first = ids(sources(**one_and_two))

    def fail(*_):
        raise AssertionError("checked again")

    monkeypatch.setattr("cluster.run.task_sources.bad_rows", fail)
    monkeypatch.setattr(decoding, "load_grey_or_rgb", fail)
    assert ids(sources(**one_and_two)) == first


def test_a_set_that_changed_is_checked_again(one_and_two, tmp_path):
    sources(**one_and_two)
    shutil.rmtree(tmp_path / "two")
    write_tasks([question("new", images=(str(tmp_path / "none.png"),))], tmp_path / "two")
    with pytest.raises(UserError, match="task 'new'"):
        sources(**one_and_two)


@pytest.mark.parametrize(
    "settings, words",
    [
        (["data={sources: []}"], "at least 1 item"),
        (["data={sources: [{name: a, tasks: x}, {name: a, tasks: y}]}"], "two are called 'a'; names must differ"),
        (["data={sources: [{name: a/b, tasks: x}]}"], "name"),
        (["data={tasks: x}", "stages.sft.sources=[a]"], "the recipe has no data.sources"),
        (
            ["data={sources: [{name: a, tasks: x}, {name: b, tasks: x}]}", "stages.sft.sources=[c]"],
            r"stages\.sft\.sources: no source is called 'c'; there are a, b",
        ),
        (["checkpoint.best.veto={source: a}"], r"best\.veto\.source: no source is called 'a'; the recipe has no data"),
        (
            ["data={sources: [{name: a, tasks: x}, {name: b, tasks: x}]}", "checkpoint.best.veto={source: c}"],
            r"checkpoint\.best\.veto\.source: no source is called 'c'; there are a, b",
        ),
        (
            ["data={sources: [{name: a, tasks: x}]}", "checkpoint.best.veto={source: a}"],
            r"checkpoint\.best\.veto\.source: a is the only source; gates need",
        ),
        (
            [
                "data={sources: [{name: a, tasks: x}, {name: b, tasks: x}]}",
                "checkpoint={best: {veto: {source: a}}, export: last}",
            ],
            r"checkpoint: export: last takes the last version whatever best\.veto finds",
        ),
    ],
)
def test_a_wrong_recipe_is_one_line(settings, words):
    with pytest.raises(UserError, match=words) as refusal:
        load_recipe(SMOKE, settings)
    assert "\n" not in str(refusal.value)


def test_a_set_that_is_not_there_names_its_source(one_and_two, tmp_path):
    with pytest.raises(UserError, match=r"^data\.sources\.gone\.tasks: .*no such file"):
        sources(gone=f"tasks: {tmp_path / 'gone'}", **one_and_two)
