"""A Ray cluster that a command starts for itself: its processes bear the command's mark and end with it.

Ray's own processes die with the process that started them. Their workers see that a moment later, and what a worker
started may take longer. By the mark, in the environment that each process inherits from its parent, the next command
finds what a dead one left.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict

import psutil

from cluster.record.lease import Owner

MARK = "CURLVPR_CLUSTER_OF"
BY_ITSELF_S = 5.0  # for what is left of a cluster to notice that the rest is gone
KILLED_S = 10.0  # for killed processes to be gone; one that waits for a disk takes that long
POLL_S = 0.1
KILL_ROUNDS = 10  # a raylet may go on starting workers, which end with it
SYSTEM = ("raylet", "gcs_server")  # die with this process; before it, Ray would take it along with a trace
TIDIES_UP = "resource_tracker"  # removes the shared memory of processes that died, then ends

Say = Callable[[str], None]


@contextmanager
def marked() -> Iterator[None]:
    """What is started in the block, and all that this starts, bears the mark of this process.

    It also does not heed the signals of a terminal that closes: this process does, and ends it.
    """
    os.environ[MARK] = json.dumps(asdict(Owner.of_this_process()))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGQUIT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.environ.pop(MARK, None)


def bears_mark(process: psutil.Process) -> bool:
    """Whether a process belongs to a cluster that a command of this user started for itself."""
    with suppress(psutil.Error, OSError):
        return MARK in process.environ()
    return False


def own_processes() -> list[psutil.Process]:
    """The live processes with this process's mark."""
    return [process for process, owner in _marked_processes() if owner.is_here and owner.process == os.getpid()]


def left_processes() -> list[psutil.Process]:
    """The live processes whose mark names a process of this machine that is gone."""
    return [process for process, owner in _marked_processes() if owner.is_here and not owner.is_running]


def end_what_is_left(say: Say) -> None:
    """Waits for what is left of the clusters of dead commands, ends what stays, and says so in a line."""
    began = time.monotonic()
    found = len(left_processes())
    if not found:
        return
    stays = _wait_until_gone(left_processes, BY_ITSELF_S)
    if stays:
        _kill_all(left_processes)
        _kill(_wait_until_gone(left_processes, KILLED_S))
    remain = _wait_until_gone(left_processes, KILLED_S if stays else 0)
    waited = f"waited {time.monotonic() - began:.1f} s"
    line = f"{waited} for {found} processes of a Ray cluster whose command was killed"
    if stays:
        line += f", and ended {len(stays)} of them"
    if remain:
        line += f"; still there: {', '.join(str(process.pid) for process in remain)}"
    say(line)


def system_processes() -> dict[str, psutil.Process]:
    """The processes without which this process's cluster is none, by name."""
    return {_name(process): process for process in own_processes() if _name(process) in SYSTEM}


def kill_own_workers() -> None:
    """Ends at once what this process's cluster runs beside Ray's own: those end with the process, which is about to."""
    _kill_all(lambda: [process for process in own_processes() if _name(process) not in SYSTEM])


def end_own_cluster() -> None:
    """Ends what is left of this process's cluster after Ray has ended it, or could not start it."""
    _kill_all(own_processes)


def _marked_processes() -> Iterator[tuple[psutil.Process, Owner]]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError, ValueError, TypeError):  # gone by now, another user's, or not ours
            mark = process.environ().get(MARK)
            if mark and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                yield process, Owner(**json.loads(mark))


def _wait_until_gone(find: Callable[[], list[psutil.Process]], limit_s: float) -> list[psutil.Process]:
    """Waits until none is found. Returns those that are there at the end of the limit."""
    until = time.monotonic() + limit_s
    while (found := find()) and time.monotonic() < until:
        time.sleep(POLL_S)
    return found


def _kill_all(find: Callable[[], list[psutil.Process]]) -> None:
    """Kills what is found, then what that had started in the meantime: nobody else would end it."""
    killed: set[int] = set()
    for _ in range(KILL_ROUNDS):
        found = [process for process in find() if process.pid not in killed and not _tidies_up(process)]
        if not found:
            return
        _kill(found)
        killed.update(process.pid for process in found)


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return process.name()
    return ""


def _tidies_up(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any(TIDIES_UP in part for part in process.cmdline())
    return False
