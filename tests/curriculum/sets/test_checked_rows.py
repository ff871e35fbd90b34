"""What a check found is kept beside the set, as long as set and images are what they were."""

import os

from PIL import Image

from curriculum.check import check_tasks
from curriculum.sets.checked_rows import CHECKS_KEPT, BadRows, CheckedRows, state_of
from curriculum.sets.mapped import open_tasks
from curriculum.taskset import write_tasks
from tests.support.task_sets import question


def test_a_check_is_made_once_for_each_key(tmp_path):
    checked, made = CheckedRows(tmp_path), []

    def check():
        made.append(1)
        return BadRows({3: "image"}, "row 3: no such file", "buy a disk")

    first = checked.known("a", check)
    assert CheckedRows(tmp_path).known("a", check) == first and len(made) == 1
    for number in range(CHECKS_KEPT):
        checked.known(f"other {number}", BadRows)
    checked.known("a", check)
    assert len(made) == 2  # it was the oldest
    checked.path.write_text("{")
    assert checked.known("a", check) == first and len(made) == 3


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path):
    assert CheckedRows(tmp_path / "gone").known("a", BadRows) == BadRows()


def test_the_state_of_a_set_changes_with_its_rows_and_its_images(tmp_path):
    image = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(image)
    write_tasks([question("a", images=(str(image),))], tmp_path)
    state = state_of(open_tasks(tmp_path))
    assert state_of(open_tasks(tmp_path)) == state
    os.utime(image, (1, 1))
    touched = state_of(open_tasks(tmp_path))
    image.unlink()
    gone = state_of(open_tasks(tmp_path))
    write_tasks([question("b", images=(str(image),))], tmp_path)
    assert len({state, touched, gone, state_of(open_tasks(tmp_path))}) == 4


def test_images_of_an_archive_have_its_stamp(tmp_path):
    films = [tmp_path / f"{name}.tar" / f"{number}.png" for number in range(2) for name in "ab"]
    films.append(tmp_path / "c.parquet" / "0" / "0")
    (tmp_path / "c.parquet").write_bytes(b"rows")
    (tmp_path / "b.tar").mkdir()  # no archive, but a folder of that name
    Image.new("L", (8, 8)).save(tmp_path / "b.tar" / "0.png")
    (tmp_path / "a.tar").write_bytes(b"members")
    write_tasks([question(str(n), images=(str(film),)) for n, film in enumerate(films)], tmp_path)
    states = [state_of(open_tasks(tmp_path)) for _ in range(2)]
    for path in (tmp_path / "a.tar", tmp_path / "b.tar" / "0.png", tmp_path / "c.parquet"):
        os.utime(path, (1, 1))
        states.append(state_of(open_tasks(tmp_path)))
    assert len(set(states)) == 4 and states[0] == states[1]


def test_bad_rows_are_told_by_their_first_fault(tmp_path):
    write_tasks([question("a"), question("b", images=(str(tmp_path / "none.png"),))], tmp_path)
    bad = BadRows.among(check_tasks(tmp_path), lambda: "advice")
    assert bad.kinds == {1: "image"} and bad.counts == {"image": 1} and bad.advice == "advice"
    assert bad.first.startswith("row 1 (0-based), task 'b': ") and "no such image file" in bad.first
