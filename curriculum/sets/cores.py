"""Work on a task set, spread over the cores of this machine: by this process and by others, which end with it.

Threads would wait for Python's lock, since most films are small. The processes do not come from `multiprocessing`,
which begins each of them with the program's main module: a script without `if __name__ == "__main__"` would start again
there. They end as soon as the pipe to this process does, however that comes about.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

PAYS_S = 3.0
"""Other processes are started if this one alone would take so long for the rest of the work."""
PROCESSES = 32
"""At most, with this one: each takes about 0.2 GiB."""
QUEUED = 4
"""Parts that a process has at a time, so that it need not wait for the next one; fewer as the work comes to its end."""
PROGRESS_S = 900.0
"""The longest wait for a part of the work."""
_END_S = 10.0  # until a process is gone that was killed


def usable_cpus() -> float:
    """CPUs that this process may use, by affinity and container limit."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, _, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").partition(" ")
    except OSError:
        return cores
    return min(cores, int(quota) / int(period)) if quota.isdigit() else cores


class Cores:
    """A `Spread` (`curriculum.sets.mapped`) over the cores of this machine, and a context, which ends its processes.

    The first parts are done in this process. The others are started if the rest promises to take long, and then this
    process works beside them. A function must be one of a module that can be imported, and parts must be small: paths
    and numbers, not what is read there.

    Results and faults are those of `map`, in the same order. No more than a few parts are ahead of the one that is
    wanted next.

    Raises:
        ChildProcessError: a process ended, or no part was finished for `PROGRESS_S`.
    """

    def __init__(self) -> None:
        self.processes: list[_Process] = []
        self._others = min(PROCESSES, int(usable_cpus())) - 1

    def __enter__(self) -> Cores:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(self, function: Callable[[Any], Any], parts: Sequence[Any]) -> Iterator[Any]:
        seconds, done = 0.0, 0
        while done < len(parts) and not self._is_long(seconds, done, len(parts)):
            before = time.perf_counter()
            result = function(parts[done])
            seconds += time.perf_counter() - before
            done += 1
            yield result
        yield from self._spread(function, parts[done:])

    def _is_long(self, seconds: float, done: int, parts: int) -> bool:
        """Whether the rest is work for several processes, after so many seconds for what is done."""
        if self.processes:
            return True
        if self._others < 1 or not done:
            return False
        return seconds / done * (parts - done) >= PAYS_S

    def _spread(self, function: Callable[[Any], Any], parts: Sequence[Any]) -> Iterator[Any]:
        found: dict[int, _Outcome] = {}
        given = 0
        try:
            if parts:
                self._prepare(function, len(parts) - 1)
            for number in range(len(parts)):
                end = min(len(parts), number + QUEUED * (len(self.processes) + 1))
                while True:
                    has_own = given < end
                    for process in self._answering(0 if number in found or has_own else PROGRESS_S):
                        found.update(process.take())
                    given = self._hand_out(function, parts, given, end)
                    if number in found:
                        break
                    if given < end:
                        found[given] = _outcome(function, parts[given])
                        given += 1
                yield found.pop(number).get()
        finally:
            if any(process.is_at_work for process in self.processes):
                self._end()

    def _prepare(self, function: Callable[[Any], Any], others: int) -> None:
        """Starts the processes that are missing, and has all import what the function needs."""
        while len(self.processes) < min(self._others, others):
            self.processes.append(_Process())
        for process in self.processes:
            process.give(None, _is_imported, function)

    def _hand_out(self, function: Callable[[Any], Any], parts: Sequence[Any], given: int, end: int) -> int:
        """Gives parts, from the one that is next, to all that have room. Returns which part is next then."""
        for process in self.processes:
            while given < end and process.has_room((len(parts) - given) // (len(self.processes) + 1)):
                process.give(given, function, parts[given])
                given += 1
        return given

    def _answering(self, seconds: float) -> list[_Process]:
        """The processes that have something to say, or are gone, within some seconds."""
        ready = wait([process.pipe for process in self.processes], seconds)
        if seconds and not ready:
            raise ChildProcessError(f"no part of a task set was read in {seconds / 60:g} minutes; is its disk there?")
        return [process for process in self.processes if process.pipe in ready]

    def _end(self) -> None:
        for process in self.processes:
            process.end()
        self.processes.clear()


@dataclass(frozen=True)
class _Outcome:
    """What came of a part: its result, or what was raised."""

    result: Any = None
    error: Exception | None = None

    def get(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result


@dataclass(frozen=True)
class _Order:
    """What another process is to do."""

    function: Callable[[Any], Any]
    part: Any


class _Process:
    """Another process, which applies functions to parts in the order in which it gets them."""

    def __init__(self) -> None:
        self.pipe, its = Pipe()
        self._numbers: deque[int | None] = deque()  # of the parts that it has; None is an import
        path = [str(folder) for folder in sys.path]
        program = f"import sys; sys.path[:] = {path!r}; from {__name__} import serve; serve({its.fileno()})"
        with its:
            self.popen = subprocess.Popen(
                [sys.executable, "-P", "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                process_group=0,  # Ctrl-C is for this process
            )

    def has_room(self, share: int) -> bool:
        """Whether it may have another part, if its fair share of those that are left is `share`."""
        return len(self._numbers) < max(1, min(QUEUED, share)) and None not in self._numbers

    @property
    def is_at_work(self) -> bool:
        """Whether it has a part."""
        return any(number is not None for number in self._numbers)

    def give(self, number: int | None, function: Callable[[Any], Any], part: Any) -> None:
        try:
            self.pipe.send(_Order(function, part))
        except ConnectionError as error:
            raise self._lost() from error
        self._numbers.append(number)

    def take(self) -> dict[int, _Outcome]:
        """What came of its first part; nothing if that was an import."""
        try:
            outcome = self.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise self._lost() from error
        number = self._numbers.popleft()
        return {} if number is None else {number: outcome}

    def end(self) -> None:
        self.pipe.close()
        self.popen.kill()
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(_END_S)

    def _lost(self) -> ChildProcessError:
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(_END_S)
        code = self.popen.returncode
        cause = f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name
        advice = "; the system does that if memory is short" if code == -signal.SIGKILL else ""
        return ChildProcessError(f"a process that read a part of a task set ended early ({cause}{advice}); try again")


def serve(descriptor: int) -> None:
    """What another process does until the pipe with this number closes."""
    with suppress(EOFError, ConnectionError), Connection(descriptor) as pipe:
        while True:
            order = pipe.recv()
            pipe.send(_outcome(order.function, order.part))


def _outcome(function: Callable[[Any], Any], part: Any) -> _Outcome:
    try:
        return _Outcome(function(part))
    except Exception as error:  # noqa: BLE001 (it is raised where the results are read)
        return _Outcome(error=error)


def _is_imported(function: Callable[[Any], Any]) -> bool:
    """For a process that has just imported the function, on its way here."""
    return callable(function)
