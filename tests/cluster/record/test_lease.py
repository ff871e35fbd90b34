"""At most one process owns a run folder: real processes that race for it, die, and lie on another machine."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from cluster.errors import UserError
from cluster.record.lease import FILE_NAME, LOCK_NAME, SILENT_S, TAKE_OVER_S, FolderTaken, Lease, Owner, owner_of

CONTENDER = """
import sys, time
from pathlib import Path
from cluster.record.lease import FolderTaken, Lease
print("ready", flush=True)
while not Path(sys.argv[1], "go").exists():
    time.sleep(0.001)
try:
    with Lease(Path(sys.argv[1])) as lease:
        print("owns", lease.owner.process, flush=True)
        time.sleep(float(sys.argv[2]))
except FolderTaken as error:
    print(error, flush=True)
"""


def contend(folder, count, seconds):
    """Starts processes that want the folder at the same moment, and lets them go."""
    command = [sys.executable, "-c", CONTENDER, str(folder), str(seconds)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    (folder / "go").touch()
    return processes


ELSEWHERE = """
import sys, time
from pathlib import Path
from cluster.record import lease
here = lease._machine()
lease._machine = lambda: sys.argv[1] + here
lease._try_lock = lambda file: True
print("ready", flush=True)
for line in sys.stdin:
    try:
        with lease.Lease(Path(line.strip())):
            began = time.monotonic()
            time.sleep(0.2)
            print(began, time.monotonic(), flush=True)
    except lease.FolderTaken:
        print(flush=True)
"""


def move_elsewhere(folder, silent_s=0.0):
    """Lets the owner be on another machine, which touched its file so many seconds ago."""
    kept = json.loads((folder / FILE_NAME).read_text())
    (folder / FILE_NAME).write_text(json.dumps(kept | {"host": "far", "machine": "far/boot/1"}))
    touched = time.time() - silent_s
    os.utime(folder / FILE_NAME, (touched, touched))


@pytest.fixture
def dead_elsewhere(tmp_path):
    """A folder whose owner, on another machine, has been silent for so many seconds."""

    def make(silent_s):
        owner = Owner.of_this_process()
        (tmp_path / FILE_NAME).write_text(json.dumps(vars(owner)))
        move_elsewhere(tmp_path, silent_s)
        return tmp_path

    return make


def test_of_many_that_want_a_folder_one_gets_it_and_is_named(tmp_path):
    lines = [process.communicate(timeout=60)[0].strip() for process in contend(tmp_path, 8, 4)]
    (winner,) = [line for line in lines if line.startswith("owns")]
    others = [line for line in lines if line != winner]
    number = winner.partition(" ")[2]
    assert len(others) == 7
    assert all(f"already in progress, in process {number} on " in line and "curlvpr stop" in line for line in others)
    assert owner_of(tmp_path) is None and not (tmp_path / FILE_NAME).exists()


def test_of_many_machines_that_share_no_locks_one_succeeds_a_dead_owner(tmp_path):
    """Or one that died before it had succeeded another; or a file that is damaged."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", ELSEWHERE]
    processes = [subprocess.Popen([*command, f"{number}"], text=True, **pipes) for number in range(5)]
    assert all(process.stdout.readline() == "ready\n" for process in processes)
    dead = vars(Owner.of_this_process()) | {"process": 2**22 + 1, "machine": "gone", "lease": "first"}
    for number in range(9):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        files = {FILE_NAME: "{" if number % 3 == 2 else json.dumps(dead)}
        if number % 3 == 1:
            files[".after-first"] = json.dumps(dead | {"lease": "second"})
        for name, text in files.items():
            (folder / name).write_text(text)
            os.utime(folder / name, (1, 1))
        for process in processes:
            process.stdin.write(f"{folder}\n")
            process.stdin.flush()
        spans = sorted(tuple(map(float, process.stdout.readline().split())) for process in processes)
        spans = [span for span in spans if span]
        assert spans and all(earlier[1] <= later[0] for earlier, later in pairwise(spans)), spans
    for process in processes:
        process.communicate(timeout=60)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {LOCK_NAME}


def test_a_killed_owners_folder_is_free_at_once(tmp_path):
    (owner,) = contend(tmp_path, 1, 60)
    assert owner.stdout.readline().startswith("owns")
    assert owner_of(tmp_path).process == owner.pid
    with pytest.raises(FolderTaken), Lease(tmp_path):
        pass
    owner.send_signal(signal.SIGKILL)
    owner.wait(10)
    assert owner_of(tmp_path) is None
    with Lease(tmp_path) as lease:
        assert lease.previous.process == owner.pid and lease.is_held and owner_of(tmp_path) == lease.owner
    assert owner_of(tmp_path) is None


def test_an_owner_elsewhere_keeps_the_folder_as_long_as_it_gives_a_sign_of_life(dead_elsewhere):
    folder = dead_elsewhere(silent_s=SILENT_S / 2)
    assert owner_of(folder).host == "far"
    gone = r"process \d+ on far; .* if that machine is gone, wait 60 s, or 15 s with --take-over"
    with pytest.raises(FolderTaken, match=gone), Lease(folder):
        pass
    assert owner_of(folder).host == "far"
    with Lease(folder, take_over=True) as lease:
        assert lease.is_held


def test_an_owner_elsewhere_that_has_just_given_a_sign_of_life_keeps_the_folder_for_good(dead_elsewhere):
    folder = dead_elsewhere(silent_s=TAKE_OVER_S - 5)
    with pytest.raises(FolderTaken), Lease(folder, take_over=True):
        pass


def test_an_owner_elsewhere_that_is_silent_for_long_is_given_up(dead_elsewhere):
    folder = dead_elsewhere(silent_s=SILENT_S + 5)
    assert owner_of(folder) is None
    with Lease(folder) as lease:
        assert lease.previous.host == "far"


def test_who_lost_the_folder_notices_and_removes_nothing(tmp_path):
    with Lease(tmp_path) as lease:
        move_elsewhere(tmp_path)
        assert not lease.is_held
    assert owner_of(tmp_path).host == "far"


def test_a_process_id_that_was_given_again_is_not_the_owner(tmp_path):
    owner = vars(Owner.of_this_process()) | {"started_at": 1.0}
    (tmp_path / FILE_NAME).write_text(json.dumps(owner))
    assert owner_of(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"process": 1}'])
def test_a_damaged_file_of_an_owner_stands_in_nobodys_way(tmp_path, content):
    (tmp_path / FILE_NAME).write_text(content)
    with Lease(tmp_path) as lease:
        assert lease.is_held and lease.previous is None


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot be owned: .*nowhere.*No such file"), Lease(tmp_path / "nowhere"):
        pass
