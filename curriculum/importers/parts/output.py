"""The folder that an import writes: it can be written, or nothing is done; a failed import leaves nothing in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from curriculum.taskset import TaskSetError


@contextmanager
def output_folder(out: Path) -> Iterator[None]:
    """Makes the folder, and takes back what was new in it if the work inside fails.

    Raises:
        TaskSetError: it is a file, or cannot be made or written: before the work. Or writing fails during the work, as
            on a full disk.
    """
    made = _make(out)
    before = _files(out)
    try:
        yield
    except BaseException as error:
        _take_back(out, before, made)
        if isinstance(error, OSError):
            raise TaskSetError(f"{error.filename or out}: {error.strerror or error}; nothing was written") from error
        raise


def _make(out: Path) -> list[Path]:
    """Makes the folder; gives the folders that were not there before, innermost first."""
    out = Path(os.path.abspath(out))
    made: list[Path] = []
    try:
        for folder in (out, *out.parents):
            if os.path.lexists(folder):
                break
            made.append(folder)
        os.makedirs(out, exist_ok=True)
        probe = out / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except FileExistsError as error:
        raise TaskSetError(f"{out}: a file is there; a folder is needed for the task set") from error
    except NotADirectoryError as error:
        raise TaskSetError(f"{out}: a part of this path is a file; a folder is needed for the task set") from error
    except (OSError, ValueError) as error:
        _remove(made)
        reason = error.strerror if isinstance(error, OSError) else error
        raise TaskSetError(f"{out}: this folder cannot be made or written ({reason})") from error
    return made


def _files(out: Path) -> set[str]:
    return {os.path.join(folder, name) for folder, _, names in os.walk(out) for name in names}


def _take_back(out: Path, before: set[str], made: list[Path]) -> None:
    """Removes the files that are new, and the folders that are empty then."""
    for path in _files(out) - before:
        with suppress(OSError):
            os.unlink(path)
    _remove([Path(folder) for folder, _, _ in os.walk(out, topdown=False) if Path(folder) != out])
    _remove(made)


def _remove(folders: list[Path]) -> None:
    """Removes those of the folders that are empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
