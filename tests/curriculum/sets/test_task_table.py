"""A table of tasks is a sequence of tasks, whatever it reads from columns."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.sets.mapped import hold_tasks
from curriculum.sets.task_table import Part, TaskTable, read_task_table, valid_tasks
from curriculum.task import Task
from curriculum.taskset import SCHEMA, TaskSetError, write_tasks
from tests.support.task_sets import finding, question, write_shards

TASK = st.tuples(st.sampled_from("abc"), st.sampled_from(["train", "val", "test"]), st.integers(0, 3))


def made(number, family, split, images):
    return question(
        f"q{number}",
        family=family,
        split=split,
        images=tuple(f"/{i}.png" for i in range(images)),
        reference="x" * images or None,
    )


@given(st.lists(TASK, min_size=1, max_size=40), st.integers(1, 3))
def test_columns_say_what_the_tasks_say(kinds, parts):
    tasks = [made(number, *kind) for number, kind in enumerate(kinds)]
    sets = [hold_tasks(tasks[number::parts]) for number in range(parts)]
    expected = [task for number in range(parts) for task in tasks[number::parts]]
    table = TaskTable([Part("", held) for held in sets], np.arange(len(tasks)))
    assert list(table) == expected
    for column in ("family", "split"):
        groups = {}
        for position, task in enumerate(expected):
            groups.setdefault(getattr(task, column), []).append(position)
        found = table.positions(column)
        assert {value: list(positions) for value, positions in found.items()} == groups and list(found) == list(groups)
    assert list(table.of_split("val")) == [task for task in expected if task.split == "val"]
    assert list(table.lengths("images")) == [len(task.images) for task in expected]
    assert list(table.lengths("reference")) == [len(task.reference or "") for task in expected]
    rows = table.select(np.arange(len(tasks))[::-1]).values("id", "options", "images")
    assert list(rows) == [
        {"id": task.id, "options": task.options, "images": list(task.images)} for task in reversed(expected)
    ]
    wanted = {task.id for task in expected[::2]}
    assert table.find(wanted | {"nobody"}) == {task.id: task for task in expected[::2]}


def test_tasks_of_named_sources_have_ids_and_a_source_of_their_own():
    parts = [Part("one", hold_tasks([question("q", source="NIH")])), Part("two", hold_tasks([question("q")]))]
    table = TaskTable(parts, np.arange(2))
    assert [(task.id, task.source) for task in table] == [("one/q", "one"), ("two/q", "two")]
    assert list(table.find({"two/q"})) == ["two/q"] and list(table.sources) == [0, 1]
    assert [task.id for task in table.of_sources({"two"})] == ["two/q"]


def test_a_row_says_what_its_task_says_without_building_it():
    held = hold_tasks(
        Task(
            id=f"t{n}",
            domain="closed",
            family="single",
            question="Which?",
            options={"A": "Edema", "B": "Mass"},
            gold=("AB"[n % 2],),
            images=("x.png",),
        )
        for n in range(5)
    )
    for source in ("", "nih"):
        table = TaskTable([Part(source, held)], np.array([4, 1]))
        for index in range(2):
            task, row = table[index], table.row(index, "id", "options", "gold", "family")
            known = {"id": task.id, "options": task.options, "gold": list(task.gold), "family": "single"}
            assert row == known and row["id"].startswith(source)


def test_an_empty_table_has_no_families():
    table = TaskTable.of([question("q")]).of_split("test")
    assert len(table) == 0 and not table.families and not list(table.values("id")) and not len(table.lengths("images"))


def test_bad_rows_are_refused_but_for_overlapping_splits(tmp_path):
    tasks = [question("a", patient="p"), question("b", patient="p", split="test")]
    assert list(read_task_table(write_shards(tasks, tmp_path / "overlap", 1))) == tasks
    folder = write_shards([question("a"), finding("f"), question("a")], tmp_path / "twice", 1)
    with pytest.raises(TaskSetError, match="row 2 .*row 0 has the same id"):
        read_task_table(folder)
    assert [task.id for task in valid_tasks({"": folder})] == ["a", "f", "a"]


def test_a_large_table_is_drawn_from_without_reading_it(tmp_path):
    """A task that is drawn touches its own row: rows before it may be as long as they like."""
    tasks = [Task(**question(f"q{n}").model_dump() | {"context": "x" * 1000}) for n in range(300)]
    write_tasks(tasks, tmp_path)
    assert read_task_table(tmp_path)[299] == tasks[299]


def test_a_set_without_rows_is_empty_and_no_fault(tmp_path):
    pq.write_table(SCHEMA.empty_table(), tmp_path / "tasks.parquet")
    table = valid_tasks({"": tmp_path})
    assert len(table) == 0 and table.find({"a"}) == {} and not len(read_task_table(tmp_path))
