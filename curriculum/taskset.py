"""A task set on disk: one Parquet file of tasks, beside the images it names or pointing to them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from .task import Split, Task

FILE_NAME = "tasks.parquet"
SCHEMA = pa.schema([
    ("id", pa.string()), ("domain", pa.string()), ("family", pa.string()), ("question", pa.string()),
    ("options", pa.map_(pa.string(), pa.string())),  # a map keeps the order of the letters
    ("gold", pa.list_(pa.string())), ("images", pa.list_(pa.string())), ("reference", pa.string()),
    ("split", pa.string()), ("patient", pa.string()), ("view", pa.string()), ("source", pa.string()),
    ("licence", pa.string()), ("attribution", pa.string()),
])
_REQUIRED = [name for name, field in Task.model_fields.items() if field.is_required()]
_ROWS_AT_ONCE = 8192


class TaskSetError(ValueError):
    """A task set or label file cannot be used. One line: file, row, task, what is wrong, what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def write_tasks(tasks: Iterable[Task], folder: Path) -> Path:
    """Writes `folder`/tasks.parquet and returns its path; a reader sees the old file or the whole new one.

    Image paths become relative to the folder where they lie inside it, so that it can be moved, and absolute elsewhere.
    A relative path in a task is taken from the current directory.

    Raises:
        TaskSetError: two tasks have the same id.
    """
    root = os.path.abspath(folder)
    os.makedirs(root, exist_ok=True)
    path = Path(root, FILE_NAME)
    partial = path.with_name(f".{FILE_NAME}.{os.getpid()}")
    seen: dict[str, int] = {}

    def row(index: int, task: Task) -> dict[str, object]:
        _check_new(task.id, index, seen, path)
        return task.model_dump() | {"options": list(task.options.items()), "images": [_inside(i, root) for i in task.images]}

    try:
        with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
            rows = (row(index, task) for index, task in enumerate(tasks))
            while chunk := list(islice(rows, _ROWS_AT_ONCE)):
                writer.write_table(pa.Table.from_pylist(chunk, schema=SCHEMA))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def read_tasks(path: Path, splits: Collection[Split] | None = None) -> list[Task]:
    """Reads a task set, in the order of its file, with absolute image paths. The images are not opened.

    Args:
        path: the file, or the folder that holds tasks.parquet.
        splits: keep only these; None keeps all. Every row is checked either way.

    Raises:
        TaskSetError: no such file, not Parquet, a column missing or unknown, a row that is no task, an id used twice.
        ValueError: `splits` names something that is no split.
    """
    wanted = set(get_args(Split) if splits is None else splits)
    if unknown := wanted - set(get_args(Split)):
        raise ValueError(f"no such split: {sorted(unknown)}; splits are {list(get_args(Split))}")
    path = Path(os.path.abspath(path))
    if path.is_dir():
        path /= FILE_NAME
    seen: dict[str, int] = {}
    tasks = []
    for index, row in enumerate(read_rows(path, _REQUIRED, SCHEMA.names)):
        task = _task(row, index, path)
        _check_new(task.id, index, seen, path)
        if task.split in wanted:
            tasks.append(task)
    return tasks


def read_rows(path: Path, required: Iterable[str], allowed: Collection[str] | None = None) -> Iterator[dict[str, object]]:
    """The rows of a Parquet file, a few thousand in memory at a time.

    Args:
        path: the file.
        required: columns that must be there.
        allowed: where given, no other column may be there; a misspelt one would otherwise be lost in silence.

    Raises:
        TaskSetError: no such file, not Parquet, or the wrong columns; raised before the first row.
    """
    if not path.is_file():
        raise TaskSetError(f"{path}: no such file; a Parquet file is needed here")
    try:
        file = pq.ParquetFile(path)
        columns = file.schema_arrow.names
        if missing := [name for name in required if name not in columns]:
            raise TaskSetError(f"{path}: column {missing[0]!r} is missing; found {columns}")
        if stray := [name for name in columns if allowed is not None and name not in allowed]:
            raise TaskSetError(f"{path}: column {stray[0]!r} is unknown; the columns may be {list(allowed)}")
    except (pa.ArrowException, OSError) as error:
        raise TaskSetError(f"{path}: not a readable Parquet file ({error})") from error
    return _rows(file, path)


def _rows(file: pq.ParquetFile, path: Path) -> Iterator[dict[str, object]]:
    with file:
        try:
            for batch in file.iter_batches(_ROWS_AT_ONCE):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise TaskSetError(f"{path}: the file is damaged ({error})") from error


def _task(row: dict[str, object], index: int, path: Path) -> Task:
    where = f"{path}: row {index} (0-based), task {row['id']!r}"
    options = row.pop("options", None) or {}
    if isinstance(options, list) and all(isinstance(pair, tuple) for pair in options):  # a Parquet map
        options = dict(options)
    if isinstance(options, dict):  # pandas writes a dict as a struct, with a null for every letter that is not there
        options = {letter: text for letter, text in options.items() if text is not None}
    # A null counts as left out, except in the split, which would quietly become train.
    given = {name: value for name, value in row.items() if value is not None or name in (*_REQUIRED, "split")}
    try:
        task = Task(**given, options=options)
    except ValidationError as error:
        fault = error.errors()[0]
        if not fault["loc"]:  # a rule of Task itself, whose message says what is right
            raise TaskSetError(f"{where}: {fault['msg'].removeprefix('Value error, ')}") from error
        field = ".".join(map(str, fault["loc"]))
        raise TaskSetError(f"{where}: {field}: {fault['msg']}, found {fault['input']!r:.80}") from error
    return task.model_copy(update={"images": tuple(os.path.normpath(path.parent / image) for image in task.images)})


def _check_new(id: str, index: int, seen: dict[str, int], path: Path) -> None:
    first = seen.setdefault(id, index)
    if first != index:
        raise TaskSetError(f"{path}: row {index} (0-based), task {id!r}: row {first} has the same id; ids must differ")


def _inside(image: str, root: str) -> str:
    absolute = os.path.abspath(image)
    return os.path.relpath(absolute, root) if absolute.startswith(root + os.sep) else absolute
