"""A task set on disk: one Parquet file of tasks, with the paths of their images."""

from __future__ import annotations

import ast
import json
import math
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from curriculum.strict import fault_text
from curriculum.task import Split, Task

Size = tuple[int, int]
"""Width and height of an image in pixels."""
FILE_NAME = "tasks.parquet"
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("domain", pa.string()),
        ("family", pa.string()),
        ("question", pa.string()),
        ("options", pa.map_(pa.string(), pa.string())),  # a map keeps the order of the letters
        ("form", pa.string()),
        ("gold", pa.list_(pa.string())),
        ("images", pa.list_(pa.string())),
        ("captions", pa.list_(pa.string())),
        ("context", pa.string()),
        ("reference", pa.string()),
        ("split", pa.string()),
        ("patient", pa.string()),
        ("view", pa.string()),
        ("sex", pa.string()),
        ("age", pa.float64()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("attribution", pa.string()),
    ]
)
_REQUIRED = [name for name, field in Task.model_fields.items() if field.is_required() and name != "form"]
_LISTS = {"gold", "images", "captions"}
_ROWS_AT_ONCE = 8192


class TaskSetError(ValueError):
    """A task set or label file cannot be used. One line: file, row, task, what is wrong, what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class RowFault(NamedTuple):
    """What is wrong with a row.

    `kind` is a column's name, "answer" (options, form and gold do not fit), "duplicate id", or one of the kinds that
    `check` and `actors.model.check_tokens` add.
    """

    kind: str
    reason: str


@dataclass(slots=True)
class TaskRow:
    """A row of a task set, with what is known of it so far.

    `each_row` sets the first four attributes, `check.check_tasks` the next three, `actors.model.check_tokens` the
    numbers of tokens.

    Attributes:
        number: of the row, 0-based.
        id: as it is in the file.
        task: None if the row is not a valid task.
        faults: what is wrong with the row.
        sizes: of the task's images; empty if one of them cannot be read.
        new_sizes: of the images that no row before has.
        new_patient: whether no row before is about this patient.
        prompt_tokens: including those of the images.
        image_tokens: those of the images alone.
        reference_tokens: including the end token.
    """

    number: int
    id: object
    task: Task | None
    faults: list[RowFault]
    sizes: tuple[Size, ...] = ()
    new_sizes: list[Size] = field(default_factory=list)
    new_patient: bool = False
    prompt_tokens: int | None = None
    image_tokens: int = 0
    reference_tokens: int | None = None

    def describe(self, fault: RowFault) -> str:
        """A fault of this row in one line."""
        return " ".join(f"row {self.number} (0-based), task {self.id!r}: {fault.reason}".split())


def write_tasks(tasks: Iterable[Task], folder: Path) -> Path:
    """Writes `folder`/tasks.parquet and returns its path; a reader sees the old file or the whole new one.

    Paths of images inside the folder become relative to it, so that it can be moved; other paths become absolute.
    A relative path in a task is relative to the current directory.

    Raises:
        TaskSetError: two tasks have the same id, or there is no task.
    """
    root = os.path.abspath(folder)
    os.makedirs(root, exist_ok=True)
    path = Path(root, FILE_NAME)
    partial = path.with_name(f".{FILE_NAME}.{os.getpid()}")
    seen: dict[int, int] = {}

    def row(index: int, task: Task) -> dict[str, object]:
        first = seen.setdefault(hash(task.id), index)
        if first != index:
            raise TaskSetError(f"{path}: {TaskRow(index, task.id, task, []).describe(_repeated(first))}")
        return task.model_dump() | {
            "options": list(task.options.items()),
            "images": [_relative_if_inside(image, root) for image in task.images],
        }

    try:
        with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
            rows = (row(index, task) for index, task in enumerate(tasks))
            while chunk := list(islice(rows, _ROWS_AT_ONCE)):
                writer.write_table(pa.Table.from_pylist(chunk, schema=SCHEMA))
        if not seen:
            raise TaskSetError(f"{path}: there is no task to write; nothing could be asked of these data")
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
        TaskSetError: there is no such file, it is not Parquet, a column is missing or unknown, a row is not a valid
            task, or an id is used twice.
        ValueError: `splits` names an unknown split.
    """
    wanted = set(get_args(Split) if splits is None else splits)
    unknown = wanted - set(get_args(Split))
    if unknown:
        raise ValueError(f"no such split: {sorted(unknown)}; splits are {list(get_args(Split))}")
    tasks = []
    for row, _ in each_row(path):
        if row.faults:
            raise TaskSetError(f"{task_file(path)}: {row.describe(row.faults[0])}")
        if row.task and row.task.split in wanted:
            tasks.append(row.task)
    return tasks


def pick_tasks(path: Path, ids: Collection[str]) -> dict[str, Task]:
    """The tasks with these ids, by id, with absolute image paths; ids that the set does not have are left out.

    Only the rows of these tasks are read from the file; the others are not checked.

    Raises:
        OSError, ValueError, KeyError: the file is gone, is not a task set, or one of the rows is not a valid task.
    """
    path = task_file(path)
    rows = pq.read_table(path, filters=[("id", "in", list(ids))]).to_pylist() if ids else []
    return {row["id"]: Task(**_cleaned(row, str(path.parent))) for row in rows}


def task_file(path: Path) -> Path:
    """The absolute path of a task set's file, given the file or its folder."""
    path = Path(os.path.abspath(path))
    return path / FILE_NAME if path.is_dir() else path


def each_row(path: Path) -> Iterator[tuple[TaskRow, dict[str, Any]]]:
    """Every row of a task set, checked by itself and for a repeated id, with the values that it has in the file.

    Rules that concern several columns are checked if each column by itself is right. Image paths become absolute. Only
    hashes of the ids of earlier rows are kept.

    Raises:
        TaskSetError: there is no such file, it is not Parquet, or a column is missing or unknown.
    """
    path = task_file(path)
    seen: dict[int, int] = {}
    for number, values in enumerate(read_rows(path, _REQUIRED, SCHEMA.names)):
        values = _cleaned(values, str(path.parent))
        task, faults = _task(values)
        id = values["id"]
        if isinstance(id, str) and id.strip():
            first = seen.setdefault(hash(id), number)
            if first != number:
                faults.append(_repeated(first))
        yield TaskRow(number, id, task, faults), values


def read_written(value: object, kind: type) -> object:
    """The list or dict that a text writes, in JSON or Python; anything else as it is."""
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{"):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(found, kind):
            return found
    return value


def read_rows(
    path: Path, required: Iterable[str], allowed: Collection[str] | None = None, at_once: int = _ROWS_AT_ONCE
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
    return _rows(file, path, at_once)


def _rows(file: pq.ParquetFile, path: Path, at_once: int) -> Iterator[dict[str, Any]]:
    with file:
        try:
            number = 0
            for batch in file.iter_batches(at_once):
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


def _cleaned(values: dict[str, Any], root: str) -> dict[str, Any]:
    """The values of a row as `Task` takes them: options as a dict, nulls left out, image paths absolute.

    A list, or the options, may be written as text, as CSV files hold them: "['a', 'b']", '{"A": "Yes", "B": "No"}'.
    """
    options = read_written(values.pop("options", None), dict) or {}
    if isinstance(options, list) and all(isinstance(pair, tuple) for pair in options):  # a Parquet map
        options = dict(options)
    if isinstance(options, dict):  # pandas writes a dict as a struct, with a null for every missing letter
        options = {letter: text for letter, text in options.items() if text is not None}
    for name in _LISTS & values.keys():
        values[name] = read_written(values[name], list)
    if isinstance(values.get("age"), float) and math.isnan(values["age"]):
        values["age"] = None
    # A null counts as left out, except in the split, which would quietly become train.
    given = {name: value for name, value in values.items() if value is not None or name in (*_REQUIRED, "split")}
    if isinstance(given["images"], list):
        given["images"] = [_absolute(image, root) for image in given["images"]]
    return given | {"options": options}


def _absolute(image: object, root: str) -> object:
    """The path of an image; one with backslashes is read as one with slashes if there is no such file."""
    if not isinstance(image, str):
        return image
    path = os.path.normpath(os.path.join(root, image))
    if "\\" in image and not os.path.exists(path):
        return os.path.normpath(os.path.join(root, image.replace("\\", "/")))
    return path


def _task(values: dict[str, Any]) -> tuple[Task | None, list[RowFault]]:
    """The task of a row, or one fault for each column that is wrong."""
    try:
        return Task(**values), []
    except ValidationError as error:
        faults: dict[str, RowFault] = {}
        for fault in error.errors():
            kind = str(fault["loc"][0]) if fault["loc"] else "answer"  # rules of Task as a whole have no column
            faults.setdefault(kind, RowFault(kind, fault_text(fault)))
        return None, list(faults.values())


def _repeated(first: int) -> RowFault:
    return RowFault("duplicate id", f"row {first} has the same id; ids must differ")


def _relative_if_inside(image: str, root: str) -> str:
    absolute = os.path.abspath(image)
    return os.path.relpath(absolute, root) if absolute.startswith(root + os.sep) else absolute
