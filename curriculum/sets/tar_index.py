"""Where the files of a tar archive lie in it. An archive of films is read several times as fast as by `tarfile`."""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(_BLOCK)
_FILE, _FOLDER, _EXTENDED = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.XHDTYPE
_TIME = re.compile(rb"(\d+) [acm]time=[\d.]+\n")
"""What Python's `tarfile`, and so WebDataset, writes before a file whose time is no whole second."""


def files_in(archive: Path) -> dict[str, tuple[int, int]]:
    """Name to place and size, in bytes, of the files in a tar archive that is not compressed.

    Raises:
        OSError: it cannot be read.
        tarfile.TarError: it is no tar archive, or not a whole one.
    """
    with open(archive, "rb") as opened:
        found = _plain_files(opened.fileno())
    if found is not None:
        return found
    with tarfile.open(archive, "r:") as whole:
        return {member.name: (member.offset_data, member.size) for member in whole if member.isfile()}


def _plain_files(descriptor: int) -> dict[str, tuple[int, int]] | None:
    """As `files_in`; None unless the archive is whole and holds only what is read here, as `tarfile` reads it."""
    found = {}
    place = 0
    while (header := os.pread(descriptor, _BLOCK, place)) != _END:
        size = _size(header)
        kind = header[156:157]
        if size is None or kind not in (_FILE, _FOLDER, _EXTENDED):
            return None
        place += _BLOCK
        if kind == _EXTENDED and not (size <= _BLOCK and _are_times(os.pread(descriptor, size, place))):
            return None
        if kind == _FILE:
            found[_name(header)] = (place, size)
        if kind != _FOLDER:
            place += -(-size // _BLOCK) * _BLOCK
    return found


def _size(header: bytes) -> int | None:
    """The size of a member; None if the header is none, or is damaged."""
    checksum = 8 * ord(" ") + sum(header) - sum(header[148:156])  # as if the checksum itself were blanks
    try:
        is_whole = len(header) == _BLOCK and int(_text(header[148:156]), 8) == checksum
        size = int(_text(header[124:136]), 8)
    except ValueError:  # a size of 8 GiB or more is no octal number
        return None
    return size if is_whole and size >= 0 else None


def _are_times(records: bytes) -> bool:
    """Whether an extended header says nothing but times. A record begins with its own length."""
    found = [_TIME.fullmatch(record) for record in records.splitlines(keepends=True)]
    return all(match is not None and int(match[1]) == len(match[0]) for match in found)


def _name(header: bytes) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500])
    return os.fsdecode(prefix + b"/" + name if prefix else name)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
