"""Which images of a task set were decoded to their end before, so that a start need not decode them again.

Each has its size, and what it looks like, by which films that two sets share are found.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from curriculum.sets.film_look import LOOK_BYTES
from curriculum.sets.stamp import Stamp
from curriculum.taskset import Size

FILE_NAME = ".checked_images.parquet"
SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("bytes", pa.int64()),
        ("modified_ns", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("look", pa.binary(LOOK_BYTES)),
    ]
)


class Known(NamedTuple):
    """What is known of an image: when, its width and height in pixels, and what it looks like."""

    stamp: Stamp
    size: Size
    look: bytes


class CheckedImages:
    """The images beside a task set, in a file there. Only images without fault are in it.

    Args:
        folder: of the task set. If it cannot be written, nothing is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.root = os.path.abspath(folder)
        self.path = Path(self.root, FILE_NAME)
        self.known = self._read()
        self.changed = False

    def size_of(self, image: str, stamp: Stamp | None) -> Size | None:
        """The size in pixels of an image that has not changed since it was decoded; None if nothing is known."""
        entry = self.known.get(self._name(image))
        return entry.size if entry is not None and entry.stamp == stamp else None

    def add(self, image: str, stamp: Stamp | None, size: Size, look: bytes) -> None:
        """An image that was decoded after its stamp was taken."""
        if stamp is not None:
            self.known[self._name(image)] = Known(stamp, size, look)
            self.changed = True

    def looks(self) -> dict[str, bytes]:
        """Absolute path of each image to its look (`film_look`)."""
        return {os.path.join(self.root, name): known.look for name, known in self.known.items()}

    def save(self) -> None:
        """Writes the file anew if anything was added."""
        if not self.changed:
            return
        partial = self.path.with_name(f"{FILE_NAME}.{os.getpid()}")
        columns = [[name, *known.stamp, *known.size, known.look] for name, known in self.known.items()]
        try:
            arrays = [
                pa.array(values, field.type) for values, field in zip(zip(*columns, strict=True), SCHEMA, strict=True)
            ]
            pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), partial, compression="zstd")
            os.replace(partial, self.path)
        except (OSError, pa.ArrowException):
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def _read(self) -> dict[str, Known]:
        """Nothing if the file is missing, damaged, or of another version."""
        try:
            table = pq.read_table(self.path)
        except (OSError, pa.ArrowException):
            return {}
        if table.schema != SCHEMA:
            return {}
        columns = [column.to_pylist() for column in table.columns]
        return {
            name: Known(Stamp(size, at), (width, height), look)
            for name, size, at, width, height, look in zip(*columns, strict=True)
        }

    def _name(self, image: str) -> str:
        """Relative to the folder if inside it, so that the folder can be moved."""
        inside = os.path.join(self.root, "")
        return image.removeprefix(inside)
