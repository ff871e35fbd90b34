"""Whether a file can be written is known before the work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.errors import UserError
from cluster.outputs import check_file, told


@pytest.mark.parametrize(
    "path, words",
    [
        ("folder", "a folder is there"),
        ("file/page.html", "is a file, where a folder is needed"),
        ("nowhere/page.html", "there is no folder"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(tmp_path, path, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"^--out .*{path}: .*{words}"):
        check_file("--out", tmp_path / path)


def test_a_good_place_is_accepted_and_nothing_is_left_there(tmp_path):
    check_file("--out", tmp_path / "page.html")
    (tmp_path / "page.html").write_text("old")
    check_file("--out", tmp_path / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_fault_while_writing_is_told_in_one_line():
    with (
        pytest.raises(UserError, match="^--out /dev/full: no space left on "),
        told("--out", Path("/dev/full")),
        open("/dev/full", "w") as file,
    ):
        file.write("x")


MUTED = """
import os, sys, time
from cluster.outputs import mute_stdout
sys.stdin.readline()
try:
    print("x" * 100_000, flush=True)
except OSError:
    mute_stdout()
    print("this goes nowhere", flush=True)
    print("went on", file=sys.stderr)
"""


def test_a_process_goes_on_without_its_output():
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", MUTED], stdin=subprocess.PIPE, stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    os.close(reader)
    assert process.communicate("go\n", timeout=30)[1] == "went on\n" and process.returncode == 0
