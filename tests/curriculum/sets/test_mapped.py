"""The mapped copy of a set gives the rows of the set, and is made again if the set changes."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.check import check_tasks
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.sets.mapped import COPY_NAME, hold_tasks, open_tasks, read_group
from curriculum.taskset import TaskSetError, read_tasks, write_tasks
from tests.support.task_sets import question, write_shards


def tasks_of(mapped):
    return [mapped.task(row) for row in range(len(mapped))]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    tasks = list(draw_phantom_set(PhantomConfig(train=4, val=2, test=1), folder))
    write_tasks(tasks, folder)
    return folder, tasks


def test_a_copy_holds_the_tasks_of_the_set_in_order(phantoms):
    folder, tasks = phantoms
    assert tasks_of(open_tasks(folder)) == tasks == tasks_of(open_tasks(folder / "tasks.parquet"))
    assert tasks_of(hold_tasks(tasks)) == tasks
    assert (folder / COPY_NAME).is_file()


def reads(groups):
    def read(function, wanted):
        for group in wanted:
            groups.append(group)
            yield function(group)

    return read


def test_a_set_is_read_once_and_again_only_if_its_content_changed(tmp_path):
    write_tasks([question("a"), question("b")], tmp_path)
    groups = []
    open_tasks(tmp_path, reads(groups))
    open_tasks(tmp_path, reads(groups))
    assert len(groups) == 1
    os.utime(tmp_path / "tasks.parquet", (1, 1))  # copied by something that keeps no times
    assert len(tasks_of(open_tasks(tmp_path, reads(groups)))) == 2 and len(groups) == 1
    write_tasks([question("a"), question("c")], tmp_path)
    assert [task.id for task in tasks_of(open_tasks(tmp_path, reads(groups)))] == ["a", "c"] and len(groups) == 2


def test_a_moved_set_keeps_its_copy_and_finds_its_images(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    image = folder / "images/a.png"
    write_tasks([question("a", images=(str(image),))], folder)
    open_tasks(folder)
    folder.rename(tmp_path / "moved")
    groups = []
    assert open_tasks(tmp_path / "moved", reads(groups)).task(0).images == (str(tmp_path / "moved/images/a.png"),)
    assert not groups


def test_a_folder_that_cannot_be_written_has_its_copy_elsewhere(tmp_path, monkeypatch):
    write_tasks([question("a")], tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    writable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and writable(path, mode))
    groups = []
    assert open_tasks(tmp_path, reads(groups)).task(0).id == open_tasks(tmp_path, reads(groups)).task(0).id == "a"
    assert len(groups) == 1 and not (tmp_path / COPY_NAME).exists() and list(temporary.rglob("*.arrow"))


def test_a_damaged_copy_is_made_again(tmp_path):
    write_tasks([question("a")], tmp_path)
    open_tasks(tmp_path)
    copy = tmp_path / COPY_NAME
    copy.write_bytes(copy.read_bytes()[:100])
    assert open_tasks(tmp_path).task(0).id == "a"


@given(st.integers(1, 4), st.integers(1, 25))
def test_shards_are_one_set(tmp_path_factory, shards, count):
    tasks = [question(f"q{n}", family="ab"[n % 2], patient=f"p{n}") for n in range(count)]
    folder = write_shards(tasks, tmp_path_factory.mktemp("shards"), shards)
    found = tasks_of(open_tasks(folder))
    assert found == read_tasks(folder) and sorted(task.id for task in found) == sorted(task.id for task in tasks)


def test_faults_are_the_same_whoever_reads_the_parts(tmp_path):
    """Parts may be read elsewhere and at once; what they are compared by is kept here."""
    tasks = [question(f"q{n}", patient=f"p{n}", split="train") for n in range(12)]
    tasks[7] = tasks[7].model_copy(update={"id": "q1"})
    tasks[9] = tasks[9].model_copy(update={"patient": "p2", "split": "test"})
    folder = write_shards(tasks, tmp_path / "set", 3)
    plain = [row.describe(fault) for row in check_tasks(folder) for fault in row.faults]
    (folder / COPY_NAME).unlink()
    backwards = lambda function, groups: list(map(function, reversed(groups)))[::-1]  # noqa: E731
    assert [row.describe(fault) for row in check_tasks(folder, spread=backwards) for fault in row.faults] == plain
    assert len(plain) == 2 and "tasks-00001-of-00003.parquet" in plain[0] and "has the same id" in plain[0]
    assert "patient 'p2' is in split 'train' here and in 'test' in row 3" in plain[1]


def test_a_missing_shard_is_named(tmp_path):
    folder = write_shards([question(f"q{n}") for n in range(9)], tmp_path, 3)
    (folder / "tasks-00001-of-00003.parquet").unlink()
    with pytest.raises(TaskSetError, match=r"tasks-00001-of-00003\.parquet is missing; 1 of 3 shards are"):
        open_tasks(folder)


def test_a_set_that_changes_while_it_is_read_is_not_taken(tmp_path):
    write_tasks([question("a")], tmp_path)

    def swap(function, groups):
        tables = list(map(function, groups))
        write_tasks([question("b")], tmp_path)
        return tables

    with pytest.raises(TaskSetError, match="it changed while it was read"):
        open_tasks(tmp_path, swap)
    assert open_tasks(tmp_path).task(0).id == "b"


def test_a_part_is_a_table_that_can_travel(tmp_path):
    write_tasks([question("a")], tmp_path)
    shutil.copy(tmp_path / "tasks.parquet", tmp_path / "other.parquet")
    groups = []
    open_tasks(tmp_path / "other.parquet", reads(groups))
    assert read_group(groups[0]).num_rows == 1 and (tmp_path / ".other.arrow").is_file()
