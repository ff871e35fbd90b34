"""Places that a command will write: checked before the work, so that none is done in vain."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from actors.runtime.files import write_reason
from cluster.errors import UserError


def check_file(what: str, path: Path) -> None:
    """Checks that a file can be written; leaves nothing there.

    Args:
        what: the option that names it, for the error.

    Raises:
        UserError: it cannot: its folder does not exist or is a file, or a folder is in its place, for example.
    """
    folder = path.absolute().parent
    if not folder.exists():
        raise UserError(f"{what} {path}: there is no folder {folder}; make it, or name another file")
    if not folder.is_dir():
        raise UserError(f"{what} {path}: {folder} is a file, where a folder is needed")
    if path.is_dir():
        raise UserError(f"{what} {path}: a folder is there; the name of a file is needed")
    with told(what, path):
        _probe(folder)
    if path.exists() and not os.access(path, os.W_OK):
        raise UserError(f"{what} {path}: this file may not be written; choose another")


@contextmanager
def told(what: str, path: Path) -> Iterator[None]:
    """Turns an OSError inside, while `path` is written, into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{what} {path}: {write_reason(error, path)}") from error


def mute_stdout() -> None:
    """Lets what is still printed go nowhere: nobody reads standard output any more, or its disk is full."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _probe(folder: Path) -> None:
    """Writes a file and removes it. Raises OSError."""
    probe = folder / f".writable-{uuid4().hex}"
    try:
        probe.write_bytes(b"?")
    finally:
        with suppress(OSError):
            probe.unlink()
