import errno

import pytest

from curriculum.importers.parts.output import output_folder
from curriculum.taskset import TaskSetError


def test_the_folder_is_made_and_kept(tmp_path):
    with output_folder(tmp_path / "a/b"):
        (tmp_path / "a/b/x").touch()
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["x"]


@pytest.mark.parametrize(
    "failure", [TaskSetError("bad row"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")]
)
def test_a_failure_leaves_nothing(tmp_path, failure):
    (tmp_path / "old").mkdir()
    (tmp_path / "old/kept").touch()
    for out in (tmp_path / "new/deep", tmp_path / "old"):
        expected = TaskSetError if isinstance(failure, OSError) else type(failure)
        with pytest.raises(expected), output_folder(out):
            (out / "images").mkdir()
            (out / "images/1.png").touch()
            raise failure
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["old", "old/kept"]


@pytest.mark.parametrize(
    "out, words",
    [
        ("file", "a file is there; a folder is needed"),
        ("file/x", "a part of this path is a file"),
        ("x" * 300, "cannot be made or written"),
        ("gone", "a file is there; a folder is needed"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_work(tmp_path, out, words):
    (tmp_path / "file").touch()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(TaskSetError, match=words) as caught, output_folder(tmp_path / out):
        raise AssertionError("the work was begun")
    assert "\n" not in str(caught.value) and sorted(tmp_path.iterdir()) == before


def test_a_folder_of_the_system(tmp_path):
    with (
        pytest.raises(TaskSetError, match="^/proc/x/y: this folder cannot be made or written"),
        output_folder("/proc/x/y"),
    ):
        raise AssertionError("the work was begun")
