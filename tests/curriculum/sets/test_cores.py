"""Several processes find what one finds, and none of them is left behind."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curriculum import check
from curriculum.check import check_tasks
from curriculum.sets import cores
from curriculum.sets.checked_images import FILE_NAME, CheckedImages
from curriculum.sets.cores import Cores
from curriculum.sets.mapped import COPY_NAME
from curriculum.taskset import SCHEMA
from tests.support.task_sets import copy_of

ROOT = Path(__file__).parents[3]
LIMIT_S = 300.0


@pytest.fixture
def started(monkeypatch):
    """Lets any work be worth three processes, whatever this machine has. The processes that were started."""
    found = []

    class Process(cores._Process):
        def __init__(self):
            super().__init__()
            found.append(self.popen)

    monkeypatch.setattr(cores, "_Process", Process)
    monkeypatch.setattr(cores, "PAYS_S", 0)
    monkeypatch.setattr(cores, "usable_cpus", lambda: 3.0)
    monkeypatch.setattr(check, "IMAGES_AT_ONCE", 2)
    return found


@pytest.fixture
def folder(clean_set, tmp_path_factory):
    """A set in many parts. Some of its rows and films are bad."""
    made, rows = clean_set
    rows = [dict(row) for row in rows]
    rows[3] |= {"images": ["images/cut3.png"]}
    rows[5] |= {"images": ["images/thin5.png"]}
    rows[8] |= {"question": ""}
    rows[11] |= {"images": ["images/none.png"]}
    copy = copy_of(made, tmp_path_factory)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), copy / "tasks.parquet", row_group_size=7)
    return copy


def found_in(folder):
    """All that a check finds, and the files that it leaves."""
    rows = list(check_tasks(folder))
    files = [folder / name for name in (COPY_NAME, FILE_NAME)]
    contents = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    return rows, contents


def test_several_processes_find_the_same(folder, started, monkeypatch):
    wanted = found_in(folder)
    assert len(started) == 2
    monkeypatch.setattr(cores, "PAYS_S", math.inf)
    assert found_in(folder) == wanted and len(started) == 2
    assert {fault.kind for row in wanted[0] for fault in row.faults} >= {"image", "question"}


def test_a_little_work_is_done_here(folder, started, monkeypatch):
    monkeypatch.setattr(cores, "PAYS_S", 3600)
    assert list(check_tasks(folder)) and not started


def test_one_core_works_alone(folder, started, monkeypatch):
    monkeypatch.setattr(cores, "usable_cpus", lambda: 1.5)
    assert list(check_tasks(folder)) and not started


def test_results_and_faults_come_in_order(started):
    with Cores() as spread:
        parts = [float(number) for number in range(500)]
        assert list(spread(math.sqrt, parts)) == [math.sqrt(part) for part in parts]
        results = spread(math.sqrt, [4.0, 9.0, 16.0, -1.0, 25.0])
        assert [next(results) for _ in range(3)] == [2, 3, 4]
        with pytest.raises(ValueError, match="math domain error"):
            next(results)
        assert list(spread(len, ["a", "bb", ""] * 10)) == [1, 2, 0] * 10  # and the next work does not see it
    assert all(process.returncode is not None for process in started)


def test_a_process_that_is_killed_is_one_error(started):
    with Cores() as spread:
        results = spread(math.sqrt, [4.0] * 1000)
        assert [next(results) for _ in range(3)] == [2, 2, 2]
        os.kill(started[0].pid, signal.SIGKILL)
        started[0].wait(LIMIT_S)
        with pytest.raises(ChildProcessError, match=r"ended early \(SIGKILL; .*memory is short\); try again"):
            list(results)
    assert all(process.returncode is not None for process in started)


def test_a_check_that_is_interrupted_keeps_what_it_found_and_ends_its_processes(folder, started):
    def interrupt(done, images):
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(check_tasks(folder, decoding=interrupt))
    assert len(started) == 2 and all(process.returncode is not None for process in started)
    assert len(CheckedImages(folder).known) >= 4


SCRIPT = """
import os, sys
from pathlib import Path
from curriculum import check
from curriculum.sets import cores

cores.PAYS_S, cores.usable_cpus, check.IMAGES_AT_ONCE = 0, lambda: 3.0, 2
pids = []

def decoding(done, images):
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    if "wait" in sys.argv and children:
        print(*children, flush=True)
        sys.stdin.read()

print(len(list(check.check_tasks(Path(sys.argv[1]), decoding=decoding))))
"""
"""Without `if __name__ == "__main__"`."""


def test_a_script_without_a_guard_runs_once(folder, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", folder],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.stderr) == (f"{len(list(check_tasks(folder)))}\n", "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_the_one_that_started_them(folder, tmp_path, number):
    (tmp_path / "script.py").write_text(SCRIPT)
    script = subprocess.Popen(
        [sys.executable, tmp_path / "script.py", folder, "wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    with script:
        pids = script.stdout.readline().split()
        script.send_signal(number)
    assert len(pids) == 2
    limit = time.monotonic() + LIMIT_S
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < limit
        time.sleep(0.05)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
