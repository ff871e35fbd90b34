"""Parquet files as they come: every fault of a file is one line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_AT_ONCE = 8192


class TaskSetError(ValueError):
    """A task set or label file cannot be used. One line: file, row, task, what is wrong, what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def read_rows(
    path: Path, required: Iterable[str], allowed: Collection[str] | None = None, at_once: int = ROWS_AT_ONCE
) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, `at_once` in memory at a time.

    Args:
        path: the file.
        required: columns that must be there.
        allowed: the columns that may be there, so that a misspelt one is not silently ignored; None allows any.
        at_once: rows that are read at a time.

    Raises:
        TaskSetError: there is no such file, it is not Parquet, or it has the wrong columns (before the first row); or
            the file is damaged (at any row).
    """
    return rows_of(open_parquet(path, required, allowed), path, at_once)


def open_parquet(path: Path, required: Iterable[str], allowed: Collection[str] | None) -> pq.ParquetFile:
    """As `read_rows`, without reading a row."""
    if not path.is_file():
        raise TaskSetError(f"{path}: no such file; a Parquet file is needed here")
    try:
        file = pq.ParquetFile(path)
        columns = file.schema_arrow.names
        for name in required:
            if name not in columns:
                raise TaskSetError(f"{path}: column {name!r} is missing; found {columns}")
        for name in columns:
            if allowed is not None and name not in allowed:
                raise TaskSetError(f"{path}: column {name!r} is unknown; the columns may be {list(allowed)}")
    except (pa.ArrowException, OSError, UnicodeError) as error:  # the name of the file or of a column may be no UTF-8
        raise TaskSetError(f"{path}: not a readable Parquet file ({error})") from error
    return file


def holds_images(file: pq.ParquetFile) -> bool:
    """Whether the column of images holds the images themselves, as structs of `bytes` and `path`."""
    kind = file.schema_arrow.field("images").type
    return bool(pa.types.is_list(kind) and pa.types.is_struct(kind.value_type))


def columns_without_images(file: pq.ParquetFile) -> list[str]:
    """The columns of a file that holds its images itself, without the images: of them only what they were called."""
    schema = file.schema
    leaves = [schema.column(number).path for number in range(len(schema))]
    return [leaf for leaf in leaves if not leaf.startswith("images.") or leaf.endswith(".path")]


def named_images(path: Path) -> Iterator[list[str]]:
    """The images that a file of tasks names, in parts; those that it holds itself have no name.

    Raises:
        OSError, ValueError, KeyError, pa.ArrowException: the file cannot be read, or has no such column.
    """
    with pq.ParquetFile(path) as file:
        if holds_images(file):
            return
        for batch in file.iter_batches(columns=["images"]):
            yield [str(image) for image in batch.column(0).flatten().to_pylist()]


def rows_of(
    file: pq.ParquetFile,
    path: Path,
    at_once: int,
    row_groups: list[int] | None = None,
    number: int = 0,
    columns: list[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows of a file, or of some of its row groups and columns; the first row has this number."""
    with file:
        try:
            for batch in file.iter_batches(at_once, row_groups, columns):
                try:
                    rows = batch.to_pylist()
                except UnicodeDecodeError as error:
                    raise _not_utf8(path, batch, number) from error
                yield from rows
                number += len(rows)
        except (pa.ArrowException, OSError) as error:
            raise TaskSetError(f"{path}: the file is damaged ({error})") from error


def _not_utf8(path: Path, batch: pa.RecordBatch, number: int) -> TaskSetError:
    """The error that names the first row and column of a batch with a text that is not UTF-8."""
    for offset in range(batch.num_rows):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                column[offset].as_py()
            except UnicodeDecodeError as error:
                where = f"row {number + offset} (0-based), column {name!r}"
                return TaskSetError(f"{path}: {where}: not UTF-8 ({error.reason}); write texts as UTF-8")
    return TaskSetError(f"{path}: a text is not UTF-8; write texts as UTF-8")
