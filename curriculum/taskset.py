"""A task set on disk: one Parquet file of tasks, or a folder of them, with the paths of their images."""

from __future__ import annotations

import ast
import json
import math
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from curriculum.sets.parquet import (
    ROWS_AT_ONCE,
    TaskSetError,
    columns_without_images,
    holds_images,
    open_parquet,
    read_rows,
    rows_of,
)
from curriculum.strict import fault_text
from curriculum.task import Split, Task

__all__ = ["TaskSetError", "read_rows"]  # beside what is defined here

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
        ("why_wrong", pa.map_(pa.string(), pa.string())),
        ("form", pa.string()),
        ("gold", pa.list_(pa.string())),
        ("images", pa.list_(pa.string())),
        ("captions", pa.list_(pa.string())),
        ("context", pa.string()),
        ("reference", pa.string()),
        ("report", pa.string()),
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
MAPS = ("options", "why_wrong")
"""Columns of letters and texts. Parquet holds them as maps, which keep the order of the letters."""
_LISTS = {"gold", "images", "captions"}
_SHARD = re.compile(r"(?P<name>.*)-(?P<number>\d+)-of-(?P<count>\d+)\.parquet")


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
        number: of the row in the set, 0-based.
        id: as it is in the file.
        task: None if the row is not a valid task.
        faults: what is wrong with the row.
        sizes: of the task's images; empty if one of them cannot be read.
        new_sizes: of the images that no row before has.
        new_patient: whether no row before is about this patient.
        prompt_tokens: including those of the images.
        image_tokens: those of the images alone.
        reference_tokens: including the end token.
        file: the name of the row's file where the set has several, or else "".
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
    file: str = ""

    def describe(self, fault: RowFault) -> str:
        """A fault of this row in one line."""
        where = f"0-based over all files, in {self.file}" if self.file else "0-based"
        return " ".join(f"row {self.number} ({where}), task {self.id!r}: {fault.reason}".split())


class RowGroup(NamedTuple):
    """A part of a task set that is read by itself.

    Attributes:
        file: of the task set.
        number: of the row group in the file.
        rows: how many it has.
        first: the number of its first row in the set.
        first_in_file: the number of its first row in the file.
        alone: whether the set has no other file.
    """

    file: Path
    number: int
    rows: int
    first: int
    first_in_file: int
    alone: bool


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
            "why_wrong": list(task.why_wrong.items()),
            "images": [relative_if_inside(image, root) for image in task.images],
        }

    try:
        with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
            rows = (row(index, task) for index, task in enumerate(tasks))
            while chunk := list(islice(rows, ROWS_AT_ONCE)):
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


def task_file(path: Path) -> Path:
    """The absolute path of a task set's file, given the file or its folder; the folder, if it holds several."""
    path = Path(os.path.abspath(path))
    if not path.is_dir():
        return path
    return path / FILE_NAME if (path / FILE_NAME).exists() or not _shards(path) else path


def task_folder(path: Path) -> Path:
    """The absolute path of the folder that a task set lies in."""
    path = Path(os.path.abspath(path))
    return path if path.is_dir() else path.parent


def task_files(path: Path) -> list[Path]:
    """The files of a task set, in order: the file; or tasks.parquet of the folder; or else all its Parquet files.

    Raises:
        TaskSetError: the files are numbered as shards ("tasks-00000-of-00004.parquet"), and one is missing.
    """
    path = task_file(path)
    if not path.is_dir():
        return [path]
    files = _shards(path)
    numbers: dict[tuple[str, str], set[int]] = {}
    for match in filter(None, (_SHARD.fullmatch(file.name) for file in files)):
        numbers.setdefault((match["name"], match["count"]), set()).add(int(match["number"]))
    for (name, count), found in numbers.items():
        missing = set(range(int(count))) - found
        if missing:
            shard = f"{name}-{min(missing):0{len(count)}d}-of-{count}.parquet"
            raise TaskSetError(f"{path}: {shard} is missing; {len(missing)} of {int(count)} shards are")
    return files


def _shards(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.parquet") if not file.name.startswith("."))


def row_groups(path: Path) -> list[RowGroup]:
    """The parts of a task set, in order.

    Raises:
        TaskSetError: there is no such file, it is not Parquet, or a column is missing or unknown.
    """
    files = task_files(path)
    groups: list[RowGroup] = []
    first = 0
    for file in files:
        start_of_file = first
        with open_parquet(file, _REQUIRED, SCHEMA.names) as opened:
            for number in range(opened.num_row_groups):
                rows = opened.metadata.row_group(number).num_rows
                groups.append(RowGroup(file, number, rows, first, first - start_of_file, len(files) == 1))
                first += rows
    return groups


def rows_of_group(group: RowGroup) -> Iterator[tuple[TaskRow, dict[str, Any]]]:
    """The rows of a part, each checked by itself alone, with the values that it has in the file.

    Rules that concern several columns are checked if each column by itself is right. Image paths become absolute.

    Raises:
        TaskSetError: the file is damaged.
    """
    root, name = str(group.file.parent), "" if group.alone else group.file.name
    with open_parquet(group.file, _REQUIRED, SCHEMA.names) as file:
        packed = holds_images(file)
        columns = columns_without_images(file) if packed else None
        rows = rows_of(file, group.file, ROWS_AT_ONCE, [group.number], group.first_in_file, columns)
        for number, values in enumerate(rows):
            if packed:
                row = group.first_in_file + number
                values["images"] = [f"{group.file}/{row}/{i}" for i in range(len(values["images"] or ()))]
            values = _cleaned(values, root)
            task, faults = _task(values)
            yield TaskRow(group.first + number, values["id"], task, faults, file=name), values


def each_row(path: Path) -> Iterator[tuple[TaskRow, dict[str, Any]]]:
    """Every row of a task set, checked by itself (see `rows_of_group`) and for a repeated id.

    Only hashes of the ids of earlier rows are kept.

    Raises:
        TaskSetError: there is no such file, it is not Parquet, or a column is missing or unknown.
    """
    ids = Ids()
    for group in row_groups(path):
        for row, values in rows_of_group(group):
            row.faults += ids.faults(row.id, row.number)
            yield row, values


class Ids:
    """The ids of the rows so far, as hashes."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}

    def faults(self, id: object, number: int) -> list[RowFault]:
        """One fault if an earlier row than this one has the id; else none."""
        if not isinstance(id, str) or not id.strip():
            return []
        first = self._first.setdefault(hash(id), number)
        return [] if first == number else [_repeated(first)]


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


def _cleaned(values: dict[str, Any], root: str) -> dict[str, Any]:
    """The values of a row as `Task` takes them: options as a dict, nulls left out, image paths absolute.

    A list, or the options, may be written as text, as CSV files hold them: "['a', 'b']", '{"A": "Yes", "B": "No"}'.
    """
    by_letter = {name: _by_letter(values.pop(name, None)) for name in MAPS}
    for name in _LISTS & values.keys():
        values[name] = read_written(values[name], list)
    if isinstance(values.get("age"), float) and math.isnan(values["age"]):
        values["age"] = None
    # A null counts as left out, except in the split, which would quietly become train.
    given = {name: value for name, value in values.items() if value is not None or name in (*_REQUIRED, "split")}
    if isinstance(given["images"], list):
        given["images"] = [
            absolute_image(image, root) if isinstance(image, str) else image for image in given["images"]
        ]
    return given | by_letter


def _by_letter(value: object) -> object:
    """Letter to text; whatever is no such thing as it is."""
    value = read_written(value, dict) or {}
    if isinstance(value, list) and all(isinstance(pair, tuple) for pair in value):  # a Parquet map
        value = dict(value)
    if isinstance(value, dict):  # pandas writes a dict as a struct, with a null for every missing letter
        value = {letter: text for letter, text in value.items() if text is not None}
    return value


def absolute_image(image: str, root: str) -> str:
    """The path of an image; one with backslashes is read as one with slashes if there is no such file."""
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


def relative_if_inside(image: str, root: str) -> str:
    """The path of an image, relative to the folder of its set if it is in there, or else absolute."""
    absolute = os.path.abspath(image)
    return os.path.relpath(absolute, root) if absolute.startswith(root + os.sep) else absolute
