"""Which image files of a task set were decoded to their end before, so that a start need not decode them again."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from curriculum.taskset import Size

FILE_NAME = ".checked_images.parquet"
SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("bytes", pa.int64()),
        ("modified_ns", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)


class Stamp(NamedTuple):
    """By which a file is taken for unchanged: its size, and when it was last written."""

    bytes: int
    modified_ns: int


def stamp_of(image: str) -> Stamp | None:
    """None if there is no such file."""
    try:
        status = os.stat(image)
    except (OSError, ValueError):
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


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
        return entry[1] if entry is not None and entry[0] == stamp else None

    def add(self, image: str, stamp: Stamp | None, size: Size) -> None:
        """An image that was decoded after its stamp was taken."""
        if stamp is not None:
            self.known[self._name(image)] = (stamp, size)
            self.changed = True

    def save(self) -> None:
        """Writes the file anew if anything was added."""
        if not self.changed:
            return
        partial = self.path.with_name(f"{FILE_NAME}.{os.getpid()}")
        columns = [[name, *stamp, *size] for name, (stamp, size) in self.known.items()]
        try:
            arrays = [
                pa.array(values, field.type) for values, field in zip(zip(*columns, strict=True), SCHEMA, strict=True)
            ]
            pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), partial, compression="zstd")
            os.replace(partial, self.path)
        except (OSError, pa.ArrowException):
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def _read(self) -> dict[str, tuple[Stamp, Size]]:
        """Nothing if the file is missing, damaged, or of another version."""
        try:
            table = pq.read_table(self.path)
        except (OSError, pa.ArrowException):
            return {}
        if table.schema != SCHEMA:
            return {}
        columns = [column.to_pylist() for column in table.columns]
        return {
            name: (Stamp(size, at), (width, height)) for name, size, at, width, height in zip(*columns, strict=True)
        }

    def _name(self, image: str) -> str:
        """Relative to the folder if inside it, so that the folder can be moved."""
        inside = os.path.join(self.root, "")
        return image.removeprefix(inside)
