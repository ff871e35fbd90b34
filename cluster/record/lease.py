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
from contextlib import suppress
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
        self.folder, self.file = folder, folder / FILE_NAME
        self.limit_s = TAKE_OVER_S if take_over else SILENT_S
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
            self._release()
        os.close(self._lock)

    @property
    def is_held(self) -> bool:
        """Whether this process still owns the folder."""
        return _read(self.file) == self.owner

    def check(self) -> None:
        """Raises LeaseLost: the folder is another process's now, and nothing may be written into it."""
        if not self.is_held:
            other = owner_of(self.folder) or "another process"
            raise LeaseLost(f"{self.folder} was taken over by {other}; this process writes nothing more")

    def _take(self) -> None:
        """Writes this process down as the owner, with this machine's lock in hand."""
        new = self.folder / f".{FILE_NAME}-{self.owner.lease}"
        try:
            new.write_text(json.dumps(asdict(self.owner)), encoding="utf-8")
            while not _create(new, self.file):
                head = self._whole(self.file)
                if head is not None or self.file.exists():  # else it was given back at this moment
                    return self._succeed(head, new)
        finally:
            new.unlink(missing_ok=True)

    def _succeed(self, head: Owner | None, new: Path) -> None:
        """Takes the place of an owner that is gone, by making a file that is named after it.

        Of all processes that try, on all machines, one can make that file. If that one dies before it is the owner, the
        next makes a file that is named after it.

        Args:
            head: the owner that is gone; None if its file is damaged.
            new: what `owner.json` shall hold.
        """
        known, place, marks = head, self.file, []
        while True:
            if known is not None and _is_alive(place, known, self.limit_s):
                raise _taken(self.folder, known)
            place = self.folder / f".after-{known.lease if known else 'damaged'}"
            marks.append(place)
            if _create(new, place):
                break
            known = self._whole(place)
            if known is None:  # that process is the owner by now
                raise _taken(self.folder, wait_for_owner(self.folder))
        try:
            if _read(self.file) != head or not self.file.exists():  # another was faster, and has removed its mark
                raise _taken(self.folder, _read(self.file))
            os.replace(new, self.file)
            self.previous = head
        finally:
            for mark in marks if self.is_held else marks[-1:]:
                mark.unlink(missing_ok=True)

    def _release(self) -> None:
        """Removes `owner.json` if it is this process's, and puts it back if it became another's at this moment."""
        old = self.folder / f".{FILE_NAME}-{self.owner.lease}"
        with suppress(FileNotFoundError):
            os.rename(self.file, old)
            if _read(old) != self.owner:
                _create(old, self.file)
            old.unlink()

    @staticmethod
    def _whole(file: Path) -> Owner | None:
        """Who a file names; None if it is damaged, and not only being written."""
        for _ in range(READ_TRIES):
            if (owner := _read(file)) is not None:
                return owner
            time.sleep(0.05)
        return None

    def _beat_until_end(self) -> None:
        while not self._ended.wait(BEAT_S):
            if not self.is_held:
                return
            os.utime(self.file)


def owner_of(folder: Path) -> Owner | None:
    """The live owner of a run folder; None if no process owns it.

    An owner on another machine counts as live until it has been silent for `SILENT_S`.
    """
    owner = _read(folder / FILE_NAME)
    return owner if owner is not None and _is_alive(folder / FILE_NAME, owner) else None


def wait_for_owner(folder: Path) -> Owner | None:
    """The owner of a folder that a process has just taken: it may be about to write its name."""
    for _ in range(READ_TRIES):
        owner = _read(folder / FILE_NAME)
        if owner is not None and (not owner.is_here or owner.is_running):
            return owner
        time.sleep(0.05)
    return None


def _is_alive(file: Path, owner: Owner, limit_s: float = SILENT_S) -> bool:
    """Whether the owner that a file names is running; or, if that cannot be seen, whether it wrote within `limit_s`."""
    return owner.is_running if owner.is_here else _silent_s(file) < limit_s


def _create(new: Path, file: Path) -> bool:
    """Lets a file have a second name. False if that name is taken: only one process can have it, on all machines."""
    try:
        os.link(new, file)
        return True
    except FileExistsError:
        return new.stat().st_nlink > 1  # it is this file: a server's answer was lost, and the call was repeated
    except OSError:  # a file system without second names
        try:
            with open(file, "x", encoding="utf-8") as copy:
                copy.write(new.read_text(encoding="utf-8"))
            return True
        except FileExistsError:
            return False


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


def _silent_s(file: Path) -> float:
    """How long ago a file was last touched, by the clock of the file system."""
    try:
        touched_at = file.stat().st_mtime
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".clock-") as probe:
            return os.stat(probe.name).st_mtime - touched_at
    except OSError:
        return 0.0


def _taken(folder: Path, owner: Owner | None) -> FolderTaken:
    who = owner or "another process"
    advice = f"curlvpr status {folder} shows it, curlvpr stop {folder} ends it after the current step"
    if owner is not None and not owner.is_here:
        advice += f"; if that machine is gone, wait {SILENT_S:g} s, or {TAKE_OVER_S:g} s with --take-over"
    return FolderTaken(f"{folder}: this run is already in progress, in {who}; {advice}", owner)
