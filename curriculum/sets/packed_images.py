"""Images that lie inside another file: members of a tar archive, such as WebDataset's shards, or values of Parquet.

Such an image has a path that leads through its file: `films-0001.tar/p10-s50.png`, or `tasks.parquet/12/0` for the
first image of row 12. Nothing is unpacked.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from curriculum.sets.tar_index import files_in

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_LIKE_AN_ARCHIVE = re.compile(r"(.*?\.(?:tar|parquet))/(.+)", re.DOTALL)
INDEXES_KEPT = 256
"""Of archives; one of 10,000 films takes 2 MB."""


class Packed(NamedTuple):
    """The file that holds an image, and what the image is called in there."""

    file: Path
    name: str


def packed_in(path: str | Path) -> Packed | None:
    """Where an image lies if its path leads through another file; None if it does not."""
    path = os.fspath(path)
    for suffix in (".tar/", ".parquet/"):
        end = path.find(suffix)
        while end >= 0:
            file = path[: end + len(suffix) - 1]
            if os.path.isfile(file):
                return Packed(Path(file), path[end + len(suffix) :])
            end = path.find(suffix, end + 1)
    return None


def split_at_archive(path: str) -> tuple[str, str]:
    """The beginning of a path that is called like an archive, which need not be one, and the rest; "" without one."""
    match = _LIKE_AN_ARCHIVE.fullmatch(path)
    return (match[1], match[2]) if match else ("", path)


def open_packed(packed: Packed) -> BinaryIO:
    """The bytes of an image.

    Raises:
        LookupError: the file has no such image.
        OSError: the file cannot be read, or breaks off.
    """
    status = packed.file.stat()
    if packed.file.suffix == ".tar":
        first, size = _members(packed.file, status.st_size, status.st_mtime_ns)[packed.name]
        with open(packed.file, "rb") as file:
            file.seek(first)
            content = file.read(size)
        if len(content) < size:
            raise OSError("the archive breaks off")
        return io.BytesIO(content)
    row, image = map(int, packed.name.split("/"))
    return io.BytesIO(_value(packed.file, row, image))


@lru_cache(INDEXES_KEPT)
def _members(file: Path, size: int, modified_ns: int) -> dict[str, tuple[int, int]]:
    """Name to place and size of an archive's members. Size and time are of the archive, so that a new one is read."""
    try:
        return files_in(file)
    except tarfile.TarError as error:
        raise OSError(f"not a whole tar archive ({error})") from error


def _value(file: Path, row: int, image: int) -> bytes:
    import pyarrow as pa  # slow to import, and files and archives do without
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            first = 0
            for number in range(parquet.num_row_groups):
                rows = parquet.metadata.row_group(number).num_rows
                if row < first + rows:
                    return _value_of_group(parquet, number, row - first, image)
                first += rows
    except pa.ArrowException as error:
        raise OSError(str(error)) from error
    raise LookupError(row)


def _value_of_group(parquet: pq.ParquetFile, group: int, row: int, image: int) -> bytes:
    for batch in parquet.iter_batches(64, [group], ["images"]):  # read no further than to the row
        if row < batch.num_rows:
            content = batch.column(0)[row].as_py()[image]["bytes"]
            if not content:
                raise LookupError(image)
            return bytes(content)
        row -= batch.num_rows
    raise LookupError(row)
