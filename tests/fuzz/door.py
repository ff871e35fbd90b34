"""Brings an input to the command line inside this process, and judges how it was received."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster.cli.app import main
from curriculum.sets.checked_images import FILE_NAME as CHECKED_IMAGES
from curriculum.sets.checked_rows import FILE_NAME as CHECKED_ROWS
from curriculum.sets.mapped import COPY_NAME

CPU_LIMIT_S = 20.0  # of processor time for one visit; the slowest takes a tenth of it
LIMIT_S = 180.0  # on the clock, for a visit that waits; a loaded machine is no fault
LIBRARY_CACHE = "torchinductor_"  # a folder that torch makes once in a process
SHOWN = 300  # characters of a file in the description of a visit
QUIET = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning, FutureWarning)


@dataclass(frozen=True)
class Visit:
    """A command and the files that it finds in its working directory.

    Attributes:
        arguments: of the command line.
        files: content by relative path.
        links: relative path to what a link there leads to, for films and models that no visit changes.
        reports: files that the command may write although it refuses, such as a page of the faults.
    """

    arguments: tuple[str, ...]
    files: Mapping[str, bytes]
    links: Mapping[str, Path] = field(default_factory=dict)
    reports: tuple[str, ...] = ()

    def __repr__(self) -> str:
        files = {name: _abridged(content) for name, content in self.files.items()}
        return f"Visit({self.arguments}, {files})"


@dataclass(frozen=True)
class Reception:
    """How a visit was received: exit code, both streams, and what lay in the folder before and after."""

    code: int
    out: str
    err: str
    before: dict[str, tuple[int, int]]
    after: dict[str, tuple[int, int]]
    left: list[str]  # temporary files


class Ill(AssertionError):
    """A visit was received against the rule."""


class TooLong(BaseException):
    """A visit took too long. No `except Exception` catches it."""


def receive(visit: Visit, folder: Path) -> Reception:
    """Runs a visit in an empty folder.

    Raises:
        Ill: the command raised, or printed what its streams cannot encode.
        TooLong: it did not end.
    """
    for name, content in visit.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name, target in visit.links.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)
    before = _apart_from(visit.reports, snapshot(folder))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        with _streams(Path(scratch)) as streams, _working_in(folder, Path(scratch, "tmp")):
            code = _exit_code(visit.arguments)
        left = sorted(name for name in os.listdir(Path(scratch, "tmp")) if not name.startswith(LIBRARY_CACHE))
        out, err = (stream.read_text(encoding="utf-8", errors="replace") for stream in streams)
    return Reception(code, out, err, before, _apart_from(visit.reports, snapshot(folder)), left)


def _apart_from(names: tuple[str, ...], found: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """What a command may write, also if it refuses, is no change: reports, and what is known of a task set."""
    known = (CHECKED_IMAGES, CHECKED_ROWS, COPY_NAME)
    return {
        name: seen
        for name, seen in found.items()
        if name not in names and Path(name).name not in known and not name.endswith(".arrow")
    }


def judge(reception: Reception) -> None:
    """Raises Ill unless the command did its work, or refused in one line with exit code 2 and left nothing behind.

    Code 1 is an answer as well, of `plan`: the run does not fit.
    """
    code, err = reception.code, reception.err
    text = f"exit code {code}\n{reception.out[-1500:]}\n{err[-3000:]}"
    if code not in (0, 1, 2):
        raise Ill(f"an exit code that means nothing\n{text}")
    if "Traceback" in reception.out + err or 'File "' in reception.out + err:
        raise Ill(f"a trace\n{text}")
    if reception.left:
        raise Ill(f"temporary files are left: {reception.left}\n{text}")
    lines = err.strip("\n").split("\n") if err.strip() else []
    if lines and (len(lines) > 1 or not lines[0].isprintable()):
        raise Ill(f"more than one line, or control characters, on standard error\n{text}")
    if code == 2:
        if not lines and not reception.out.strip():
            raise Ill(f"refused without a word\n{text}")
        if reception.after != reception.before:
            changed = sorted(reception.after.items() ^ reception.before.items())
            raise Ill(f"refused, and yet files changed: {changed[:5]}\n{text}")
    hidden = [name for name in reception.after if Path(name).name.startswith(".") and name not in reception.before]
    if hidden:
        raise Ill(f"half-written files are left: {hidden}\n{text}")


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything below a folder, by relative path; links are not followed."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(root, name)
            stat = os.lstat(path)
            found[os.path.relpath(path, folder)] = (0, 0) if name in folders else (stat.st_size, stat.st_mtime_ns)
    return found


def visit_and_judge(visit: Visit) -> int:
    """Receives and judges a visit in a folder of its own. Returns the exit code. Raises Ill."""
    folder = Path(tempfile.mkdtemp(prefix="visit-"))
    try:
        reception = receive(visit, folder)
        judge(reception)
        return reception.code
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def time_limit() -> Iterator[None]:
    """Raises TooLong inside the block when one of its times is over."""
    timers = [(signal.SIGPROF, signal.ITIMER_PROF, CPU_LIMIT_S), (signal.SIGALRM, signal.ITIMER_REAL, LIMIT_S)]

    def over(number: int, _: object) -> None:
        raise TooLong(f"no end in time ({signal.Signals(number).name})")

    previous = [signal.signal(number, over) for number, _, _ in timers]
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, previous, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def _exit_code(arguments: tuple[str, ...]) -> int:
    sys.argv = ["curlvpr", *arguments]
    try:
        with time_limit():
            main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except TooLong as error:
        raise Ill(str(error)) from error
    except BaseException as error:
        raise Ill(f"an exception went through:\n{''.join(traceback.format_exception(error)[-12:])}") from error
    return 0


@contextmanager
def _streams(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Both streams as files, for Python as for libraries in C; yields their paths."""
    paths = folder / "out", folder / "err"
    kept_streams = sys.stdout, sys.stderr
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    handlers, logging.root.handlers = logging.root.handlers, []
    try:
        for number, path in enumerate(paths, 1):
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        yield paths
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = kept_streams
        logging.root.handlers = handlers
        for number, descriptor in enumerate(kept, 1):
            os.dup2(descriptor, number)
            os.close(descriptor)


@contextmanager
def _working_in(folder: Path, temporary: Path) -> Iterator[None]:
    """The working directory, the folder for temporary files, and warnings that are shown as a user sees them."""
    temporary.mkdir()
    here, argv, kept = os.getcwd(), sys.argv, tempfile.tempdir
    os.chdir(folder)
    tempfile.tempdir = str(temporary)
    try:
        with warnings.catch_warnings():
            warnings.resetwarnings()
            for category in QUIET:
                warnings.simplefilter("ignore", category)
            yield
    finally:
        os.chdir(here)
        sys.argv, tempfile.tempdir = argv, kept


def _abridged(content: bytes) -> str:
    text = repr(content)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(content)} bytes)"
