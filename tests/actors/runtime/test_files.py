"""Files are written whole or not at all, and a fault is told in words. /dev/full is a full disk."""

import errno

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from actors.runtime.files import (
    NoSpaceError,
    disk_named,
    disk_words,
    drop,
    is_no_space,
    replacing,
    size_words,
    write_fault,
)


def error_of(write):
    with pytest.raises(Exception) as caught:
        write()
    return caught.value


def to_full_disk():
    with open("/dev/full", "w") as file:
        file.write("x")


def test_a_full_disk_is_known_by_the_errors_of_python_and_of_libraries(tmp_path):
    assert is_no_space(error_of(to_full_disk))
    assert is_no_space(error_of(lambda: torch.save({"a": torch.zeros(100_000)}, "/dev/full")))
    assert not is_no_space(error_of(lambda: (tmp_path / "no" / "file").write_text("")))
    assert not is_no_space(error_of(lambda: save_file({"a": np.zeros(1)}, tmp_path / "no" / "file")))


def test_a_fault_that_a_full_disk_caused_names_the_disk(tmp_path):
    def write():
        with disk_named(tmp_path / "not" / "there"):
            try:
                to_full_disk()
            except OSError as error:
                raise RuntimeError("a library's own") from error

    error = error_of(write)
    assert isinstance(error, NoSpaceError) and error.errno == errno.ENOSPC
    assert str(error) == f"no space left on {disk_words(tmp_path)}"
    assert write_fault(error, "model") == f"model: no space left on {disk_words('model')}"


def test_other_faults_pass_unchanged(tmp_path):
    def write():
        with disk_named(tmp_path):
            raise ValueError("no fault of a disk")

    assert str(error_of(write)) == "no fault of a disk"


@pytest.mark.parametrize(
    "number, words",
    [
        (errno.EROFS, "its file system is read-only"),
        (errno.EACCES, "this user may not write there"),
        (errno.ENOTDIR, "a part of this path is a file"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_keeps_a_file_from_being_written_is_told(number, words):
    assert write_fault(OSError(number, "Input/output error", "/a/b"), "c").startswith(f"/a/b: {words}")
    assert write_fault(OSError(number, "Input/output error"), "c").startswith(f"c: {words}")


def test_a_file_is_replaced_whole_or_stays_and_nothing_is_left(tmp_path):
    path = tmp_path / "file"
    with replacing(path) as partial:
        partial.write_text("old")
        assert not path.exists()
    with pytest.raises(OSError), replacing(path) as partial:
        partial.write_text("half")
        to_full_disk()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_is_buffered_can_be_dropped(tmp_path):
    file = open(tmp_path / "file", "a")  # noqa: SIM115 - closed by what is tested
    file.write("written\n")
    file.flush()
    file.write("buffered\n")
    drop(file)
    assert file.closed and (tmp_path / "file").read_text() == "written\n"


def test_sizes_are_told_in_fitting_units():
    assert [size_words(size) for size in (0, 2**20, 1.5 * 2**30)] == ["0.0 MiB", "1.0 MiB", "1.5 GiB"]
