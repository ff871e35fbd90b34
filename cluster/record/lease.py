"""Who owns a run folder: at most one process writes into it.

The owner holds a lock on `owner.lock` as long as it lives; the system gives it back when the process ends, however it
ends. `owner.json` says who that is. Where a file system keeps locks on each machine for itself, the lock says nothing
about other machines, so the owner also touches `owner.json` every few seconds, and another machine takes the folder
over only if that has stopped.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import tempfile
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import psutil

from actors.runtime.files import write_fault
from cluster.errors import UserError

FILE_NAME = "owner.json"
LOCK_NAME = "owner.lock"
BEAT_S = 5.0
SILENT_S = 60.0  # after which an owner on another machine is given up
TAKE_OVER_S = 3 * BEAT_S  # after which it is given up on request: one that has just given a sign of life is not
READ_TRIES = 20  # an owner writes its name right after it has the lock


class FolderTaken(UserError):
    """A process that is alive owns the run folder: `owner`, if its name could be read."""

    def __init__(self, text: str, owner: Owner | None = None) -> None:
        super().__init__(text)
        self.owner = owner


class LeaseLost(RuntimeError):
    """Another machine took the run folder over while this process gave no sign of life there."""


@dataclass(frozen=True)
class Owner:
    """The process that owns a run folder.

    Attributes:
        machine: host name, boot and process namespace: where the process id means something.
        started_at: when the process started, in seconds of the epoch, which tells it from a later one of the same id.
        lease: differs for every time that a process takes a folder.
    """

    process: int
    started_at: float
    host: str
    machine: str
    lease: str

    @staticmethod
    def of_this_process() -> Owner:
        process = psutil.Process()
        return Owner(process.pid, process.create_time(), socket.gethostname(), _machine(), uuid.uuid4().hex)

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine, so that its death can be seen."""
        return self.machine == _machine()

    @property
    def is_running(self) -> bool:
        """Whether the process is there, and not only its exit code for a parent to read. Of use if it `is_here`."""
        try:
            process = psutil.Process(self.process)
            same = abs(process.create_time() - self.started_at) < 1
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


class Lease:
    """A run folder that this process owns for the duration of the context.

    Args:
        folder: of the run; it exists.
        take_over: take it from an owner on another machine that has missed three signs of life, without waiting
            longer.

    Raises:
        FolderTaken: another process owns it.
        UserError: the folder cannot be written.
    """

    def __init__(self, folder: Path, take_over: bool = False) -> None:
        self.folder, self.take_over = folder, take_over
        self.owner = Owner.of_this_process()
        self.previous: Owner | None = None  # who owned it before, and died
        self._ended = threading.Event()
        self._beat = threading.Thread(target=self._beat_until_end, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        try:
            self._lock = os.open(self.folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(f"this run cannot be owned: {write_fault(error, self.folder)}") from error
        try:
            if not _try_lock(self._lock):
                raise _taken(self.folder, wait_for_owner(self.folder))
            self._take()
        except OSError as error:
            os.close(self._lock)
            raise UserError(f"this run cannot be owned: {write_fault(error, self.folder)}") from error
        except BaseException:
            os.close(self._lock)
            raise
        self._beat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._beat.join(BEAT_S)
        if self.is_held:
            (self.folder / FILE_NAME).unlink(missing_ok=True)
        os.close(self._lock)

    @property
    def is_held(self) -> bool:
        """Whether this process still owns the folder."""
        return _read(self.folder / FILE_NAME) == self.owner

    def check(self) -> None:
        """Raises LeaseLost: the folder is another process's now, and nothing may be written into it."""
        if not self.is_held:
            other = owner_of(self.folder) or "another process"
            raise LeaseLost(f"{self.folder} was taken over by {other}; this process writes nothing more")

    def _take(self) -> None:
        """Writes this process down as the owner, with this machine's lock in hand."""
        file = self.folder / FILE_NAME
        owner = _read(file)
        if owner is not None:
            self._check_gone(owner)
            self.previous = owner
        if file.exists():
            self._remove(owner)
        try:
            with open(file, "x", encoding="utf-8") as new:  # only one process can create it, on all machines
                json.dump(asdict(self.owner), new)
        except FileExistsError:
            raise _taken(self.folder, wait_for_owner(self.folder)) from None

    def _check_gone(self, owner: Owner) -> None:
        """Raises FolderTaken: it may be alive."""
        if _is_alive(self.folder, owner, TAKE_OVER_S if self.take_over else SILENT_S):
            raise _taken(self.folder, owner)

    def _remove(self, owner: Owner | None) -> None:
        """Removes the file of an owner that is gone, and puts it back if another process was faster."""
        file, old = self.folder / FILE_NAME, self.folder / f".{FILE_NAME}-{self.owner.lease}"
        try:
            os.rename(file, old)
        except FileNotFoundError:
            return
        if _read(old) != owner:
            os.rename(old, file)
            raise _taken(self.folder, _read(file))
        old.unlink()

    def _beat_until_end(self) -> None:
        while not self._ended.wait(BEAT_S):
            if not self.is_held:
                return
            os.utime(self.folder / FILE_NAME)


def owner_of(folder: Path) -> Owner | None:
    """The live owner of a run folder; None if no process owns it.

    An owner on another machine counts as live until it has been silent for `SILENT_S`.
    """
    owner = _read(folder / FILE_NAME)
    return owner if owner is not None and _is_alive(folder, owner) else None


def wait_for_owner(folder: Path) -> Owner | None:
    """The owner of a folder that a process has just taken: it may be about to write its name."""
    for _ in range(READ_TRIES):
        owner = _read(folder / FILE_NAME)
        if owner is not None and (not owner.is_here or owner.is_running):
            return owner
        time.sleep(0.05)
    return None


def _is_alive(folder: Path, owner: Owner, limit_s: float = SILENT_S) -> bool:
    """Whether an owner is running; or, if that cannot be seen, whether it gave a sign of life within `limit_s`."""
    return owner.is_running if owner.is_here else _silent_s(folder) < limit_s


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{socket.gethostname()}/{boot}/{os.stat('/proc/self/ns/pid').st_ino}"


def _try_lock(file: int) -> bool:
    """Locks a file for as long as this process has it open. True, too, if the file system knows no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # then owner.json alone decides
        return True
    return True


def _read(file: Path) -> Owner | None:
    """Who `owner.json` names; None if it is not there, or not whole."""
    try:
        return Owner(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _silent_s(folder: Path) -> float:
    """How long ago the owner last touched its file, by the clock of the file system."""
    try:
        touched_at = (folder / FILE_NAME).stat().st_mtime
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as probe:
            return os.stat(probe.name).st_mtime - touched_at
    except OSError:
        return 0.0


def _taken(folder: Path, owner: Owner | None) -> FolderTaken:
    who = owner or "another process"
    advice = f"curlvpr status {folder} shows it, curlvpr stop {folder} ends it after the current step"
    if owner is not None and not owner.is_here:
        advice += f"; if that machine is gone, wait {SILENT_S:g} s, or {TAKE_OVER_S:g} s with --take-over"
    return FolderTaken(f"{folder}: this run is already in progress, in {who}; {advice}", owner)
