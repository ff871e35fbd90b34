"""Writing files: whole or not at all, and in words what keeps a file from being written."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# safetensors and torch report a full disk as errors of their own; torch does not name the reason.
_NO_SPACE_TEXT = re.compile(r"No space left|Disk quota exceeded|os error 28|inline_container\.cc|file write failed")
REASONS = {
    errno.EROFS: "its file system is read-only",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.ENOTDIR: "a part of this path is a file, where a folder is needed",
    errno.EISDIR: "a folder is there, where a file is needed",
    errno.EEXIST: "a file is there, where a folder is needed",
    errno.ENAMETOOLONG: "this path is too long",
}


class NoSpaceError(OSError):
    """A disk is full. The text names it."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(errno.ENOSPC, f"no space left on {disk_words(path)}")

    def __str__(self) -> str:
        return str(self.strerror)


def is_no_space(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that a disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            return True
        if not isinstance(error, OSError) and _NO_SPACE_TEXT.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def write_fault(error: BaseException, path: str | Path) -> str:
    """Why `path`, or the file that the error names, cannot be written, in one line."""
    named = getattr(error, "filename", None)
    place = path if named is None or isinstance(named, int) else os.fsdecode(named)
    return f"{place}: {write_reason(error, path)}"


def write_reason(error: BaseException, path: str | Path) -> str:
    """As `write_fault`, without the file."""
    if is_no_space(error):
        return f"no space left on {disk_words(path)}"
    number = error.errno if isinstance(error, OSError) else None
    reason = REASONS.get(number or 0) or getattr(error, "strerror", None) or error
    return " ".join(str(reason).split())


@contextmanager
def disk_named(path: str | Path) -> Iterator[None]:
    """Turns whatever a library raises inside because the disk of `path` is full into NoSpaceError."""
    try:
        yield
    except Exception as error:
        if is_no_space(error):
            raise NoSpaceError(path) from error
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write instead of `path`, whose place it takes at the end. It is removed if the block fails."""
    partial = path.with_name(f".{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def drop(file: IO[str]) -> None:
    """Closes a file and writes nothing more to it, also what is buffered."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), file.fileno())
    file.close()


def disk_words(path: str | Path) -> str:
    """The disk that holds a path, or will: "/data (100.0 GiB, of which 0.0 GiB are free)"."""
    place = existing(Path(path))
    usage = shutil.disk_usage(place)
    while not os.path.ismount(place):
        place = place.parent
    return f"{place} ({size_words(usage.total)}, of which {size_words(usage.free)} are free)"


def missing(path: Path) -> list[Path]:
    """The path and the folders around it, as far as they do not exist; innermost first."""
    path = Path(os.path.abspath(path))
    return [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Removes folders, in this order, as far as they are empty."""
    for folder in folders:
        with suppress(OSError, ValueError):  # a name that no file can have
            folder.rmdir()


def existing(path: Path) -> Path:
    """The path, or the innermost folder around it that exists."""
    path = Path(os.path.abspath(path))
    while not os.path.exists(path):
        path = path.parent
    return path


def size_words(size: float) -> str:
    """A number of bytes: "3.2 GiB", "640.0 MiB", "0.1 MiB"."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
