"""By which the file of an image is taken for unchanged. Needs nothing that is slow to import."""

from __future__ import annotations

import os
from typing import NamedTuple

from curriculum.sets.packed_images import packed_in


class Stamp(NamedTuple):
    """The size of a file, and when it was last written."""

    bytes: int
    modified_ns: int


def stamp_of(image: str) -> Stamp | None:
    """The stamp of an image, or of the file that it lies in; None if there is no such file."""
    try:
        packed = packed_in(image)
        status = os.stat(packed.file if packed else image)
    except (OSError, ValueError):
        return None
    return Stamp(status.st_size, status.st_mtime_ns)
