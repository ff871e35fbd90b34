"""The mapped copy of a task set: its rows, checked by themselves and against each other, in a file that is mapped into
memory. A task of it costs nothing until it is built.

The copy is made once and lies beside the set. It names the files that it was made of, by size, time and content, and is
made again if they change. What it says of rows does not depend on the images, which may change without it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curriculum.sets.parquet import ROWS_AT_ONCE, TaskSetError
from curriculum.task import Split, Task
from curriculum.taskset import (
    FILE_NAME,
    MAPS,
    SCHEMA,
    Ids,
    RowFault,
    RowGroup,
    TaskRow,
    absolute_image,
    relative_if_inside,
    row_groups,
    rows_of_group,
    task_files,
    task_folder,
)

COPY_NAME = ".tasks.arrow"
HASHED_BYTES = 4 << 30
"""Larger files hold images; they are known by their size and time alone."""
MANY_ROWS = 200_000
SECONDS_A_ROW = 1e-4
_SPLITS = get_args(Split)
_TASK = tuple(SCHEMA.names)
_VERSION = 1
_FOUND = [
    pa.field("number", pa.int64()),  # of the row in the set
    pa.field("file", pa.string()),
    pa.field("invalid", pa.string()),  # the row's id, as Python writes it, if the row is no valid task
    pa.field("new_patient", pa.bool_()),
    pa.field("faults", pa.list_(pa.struct([("kind", pa.string()), ("reason", pa.string())]))),
]
_PLAIN = pa.schema([*SCHEMA, *_FOUND])
_FEW_VALUES = ("domain", "family", "form", "split", "view", "sex", "source", "licence", "attribution", "file")
"""Columns that repeat a few texts. The copy holds each text once, and a number in each row."""
_COPY = pa.schema(
    [
        pa.field(field.name, pa.dictionary(pa.int32(), pa.string())) if field.name in _FEW_VALUES else field
        for field in _PLAIN
    ]
)
Spread = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
"""Applies a function to the parts of the work, here or on other machines, and gives the results in order."""


class MappedTasks:
    """The rows of a task set.

    Args:
        batches: of the schema of a copy; the dictionaries of all are the same.
        root: the folder that relative image paths start at.
        digest: a hash of what the rows were read from.
    """

    def __init__(self, batches: Sequence[pa.RecordBatch], root: Path, digest: str = "") -> None:
        self.batches = batches
        self.digest = digest
        self.root = str(root)
        self._starts = np.cumsum([0, *(batch.num_rows for batch in batches)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def row(self, row: int, columns: Iterable[str]) -> dict[str, Any]:
        """Some columns of a row, as they lie in the file."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        batch, place = self.batches[number], row - int(self._starts[number])
        return {name: batch.column(name)[place].as_py() for name in columns}

    def task(self, row: int) -> Task:
        """The task of a row, with absolute image paths. The row must be a valid task."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        values = self.batches[number].slice(row - int(self._starts[number]), 1).to_pylist()[0]
        return self._task(values, [absolute_image(image, self.root) for image in values["images"]])

    def each_row(self) -> Iterator[tuple[TaskRow, list[str]]]:
        """Every row, in order, with its faults and its images, which are known also where it is no valid task."""
        slices = (batch.slice(start, 256) for batch in self.batches for start in range(0, batch.num_rows, 256))
        for part in slices:  # a batch as Python's objects takes a while, which others would wait for
            for values in part.to_pylist():
                images = [absolute_image(image, self.root) for image in values["images"] or ()]
                yield self._row(values, images), images

    def rows_with(self, images: Collection[str]) -> Iterator[tuple[TaskRow, list[str]]]:
        """As `each_row`, but only the rows that have a fault already, or one of these images."""
        wanted = pa.array([relative_if_inside(image, self.root) for image in images], pa.string())
        for batch in self.batches:
            found = np.asarray(pc.list_value_length(batch.column("faults"))) > 0
            named = batch.column("images")
            holds = np.flatnonzero(pc.is_in(pc.list_flatten(named), wanted))
            found[np.asarray(pc.list_parent_indices(named))[holds]] = True
            yield from MappedTasks([batch.take(pa.array(np.flatnonzero(found)))], Path(self.root)).each_row()

    def images(self) -> list[str]:
        """The absolute paths of all images, each once."""
        named = pa.chunked_array([pc.list_flatten(batch.column("images")) for batch in self.batches], pa.string())
        return [absolute_image(image, self.root) for image in pc.unique(named).to_pylist()]

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of all rows, as it lies in the file."""
        return pa.chunked_array([batch.column(name) for batch in self.batches], _COPY.field(name).type)

    def _task(self, values: Mapping[str, Any], images: Sequence[str]) -> Task:
        given = {name: values[name] for name in _TASK}
        return Task(**given | {name: dict(values[name]) for name in MAPS} | {"images": images})

    def _row(self, values: Mapping[str, Any], images: Sequence[str]) -> TaskRow:
        invalid = values["invalid"]
        faults = [RowFault(**fault) for fault in values["faults"]]
        task = self._task(values, images) if invalid is None else None
        id = task.id if task else ast.literal_eval(invalid)
        return TaskRow(values["number"], id, task, faults, new_patient=values["new_patient"], file=values["file"])


def open_tasks(path: Path, spread: Spread = map, say: Callable[[str], None] = lambda line: None) -> MappedTasks:
    """The rows of a task set, from its mapped copy. The copy is made if there is none, or if the set has changed.

    Args:
        path: the file, or the folder that holds the set.
        spread: who reads the parts of the set if a copy must be made.
        say: is told if that will take long.

    Raises:
        TaskSetError: no row can be read: there is no such file, it is not Parquet, a column is missing or unknown, or
            a shard is missing. Or a file breaks off.
        OSError: the copy cannot be written.
    """
    files, folder = task_files(path), task_folder(path)
    groups = row_groups(path)
    places = _places(folder, files)
    for place in places:
        mapped = _known(place, files, folder)
        if mapped is not None:
            return mapped
    rows = sum(group.rows for group in groups)
    if rows > MANY_ROWS:
        say(f"reading {rows:,} tasks of {path} for the first time: about {rows * SECONDS_A_ROW / 60:.0f} minutes")
    place = places[0] if os.access(folder, os.W_OK) else places[1]
    made_of = [[*_stamp(file), _digest(file)] for file in files]  # before they are read
    _write(place, compare_rows(spread(read_group, groups)), made_of)
    mapped = _known(place, files, folder)
    if mapped is None:
        raise TaskSetError(f"{path}: it changed while it was read; try again")
    return mapped


def hold_tasks(tasks: Iterable[Task]) -> MappedTasks:
    """Tasks that lie in memory, as a set."""
    rows = [_stored(TaskRow(number, task.id, task, []), {}, os.sep) for number, task in enumerate(tasks)]
    return MappedTasks([*_batches([pa.Table.from_pylist(rows, _PLAIN)])], Path(os.sep))


def read_group(group: RowGroup) -> pa.Table:
    """The rows of a part of a set, each checked by itself alone."""
    root = str(group.file.parent)
    rows = [_stored(row, values, root) for row, values in rows_of_group(group)]
    return pa.Table.from_pylist(rows, _PLAIN)


def _stored(row: TaskRow, values: Mapping[str, Any], root: str) -> dict[str, Any]:
    """What the copy holds of a row. Of one that is no valid task: what later rows are compared with, and its images."""
    images = row.task.images if row.task else values["images"]
    stored: dict[str, Any] = {
        "number": row.number,
        "file": row.file,
        "faults": [fault._asdict() for fault in row.faults],
        "images": [relative_if_inside(image, root) for image in _texts(images)],
    }
    if row.task:
        task = row.task.model_dump()
        return task | stored | {name: list(task[name].items()) for name in MAPS}
    split = values.get("split", "train")
    texts = {name: values[name] for name in ("id", "patient") if isinstance(values.get(name), str)}
    return stored | texts | {"invalid": repr(row.id), "split": split if split in _SPLITS else None}


def _texts(values: object) -> list[str]:
    """The texts of a list; none of anything else."""
    return [value for value in values if isinstance(value, str)] if isinstance(values, list | tuple) else []


def compare_rows(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Adds what only a comparison with earlier rows shows: ids that are used twice, splits that overlap, new patients.

    Only hashes of ids, patients and images are kept.
    """
    ids = Ids()
    places: dict[int, int] = {}  # patient or image (hashed) to its first row and that row's split, in one number
    for table in tables:
        rows = table.select(["id", "split", "patient", "images", "number", "faults"]).to_pylist()
        for row in rows:
            faults = ids.faults(row["id"], row["number"]) + _split_faults(row, places)
            row["faults"] += [fault._asdict() for fault in faults]
        for name in ("faults", "new_patient"):
            index = _PLAIN.get_field_index(name)
            column = pa.array([row.get(name, False) for row in rows], _PLAIN.field(name).type)
            table = table.set_column(index, _PLAIN.field(name), column)
        yield table


def _split_faults(row: dict[str, Any], places: dict[int, int]) -> list[RowFault]:
    """One fault if an earlier row has the row's patient, or else one of its images, in another split; else none.

    Sets the row's `new_patient`.
    """
    split = row["split"]
    if split is None:
        return []
    named = [("image", image) for image in dict.fromkeys(row["images"])]
    if row["patient"]:
        named.insert(0, ("patient", row["patient"]))
    place = row["number"] * len(_SPLITS) + _SPLITS.index(split)
    faults = []
    for kind, name in named:
        first_place = places.setdefault(hash((kind, name)), place)
        number, index = divmod(first_place, len(_SPLITS))
        if kind == "patient":
            row["new_patient"] = first_place == place
        if _SPLITS[index] != split:
            article = "a" if kind == "patient" else "an"
            reason = (
                f"{kind} {name!r} is in split {split!r} here and in {_SPLITS[index]!r} in row {number}; "
                f"{article} {kind} must be in one split only"
            )
            faults.append(RowFault("two splits", reason))
    return faults[:1]


def _batches(tables: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
    """Tables in parts as the copy holds them. The dictionary of a column grows from part to part."""
    known: dict[str, dict[str, int]] = {name: {} for name in _FEW_VALUES}
    for table in tables:
        for batch in table.combine_chunks().to_batches(ROWS_AT_ONCE):
            columns = [
                _coded(column, known[name]) if name in known else column
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            yield pa.record_batch(columns, schema=_COPY)


def _coded(column: pa.Array, known: dict[str, int]) -> pa.DictionaryArray:
    encoded = column.dictionary_encode()
    codes = [known.setdefault(text, len(known)) for text in encoded.dictionary.to_pylist()]
    numbers = pa.array(codes, pa.int32()).take(encoded.indices)
    return pa.DictionaryArray.from_arrays(numbers, pa.array(list(known), pa.string()))


def _write(place: Path, tables: Iterable[pa.Table], made_of: Sequence[Any]) -> None:
    """Writes a copy; another process sees none of it or all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f"{place.name}.{os.getpid()}")
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    schema = _COPY.with_metadata({"made_of": json.dumps([_VERSION, made_of])})
    try:
        with pa.ipc.new_file(str(partial), schema, options=options) as writer:
            for batch in _batches(tables):
                writer.write_batch(batch)
        os.replace(partial, place)
    finally:
        partial.unlink(missing_ok=True)


def _known(place: Path, files: Sequence[Path], root: Path) -> MappedTasks | None:
    """The copy at a place; None if there is none, or it was made of other files."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(place)))
        version, made_of = json.loads(reader.schema.metadata[b"made_of"])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None
    unchanged = version == _VERSION and reader.schema.equals(_COPY) and len(made_of) == len(files)
    if not unchanged or not all(_is_same(file, *known) for file, known in zip(files, made_of, strict=True)):
        return None
    batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
    return MappedTasks(batches, root, hashlib.sha256(json.dumps(made_of).encode()).hexdigest())


def _is_same(file: Path, name: str, size: int, modified_ns: int, digest: str) -> bool:
    """Whether a file is what it was: by its time, or else, as after a copy, by its content."""
    found_name, found_size, found_time = _stamp(file)
    if (found_name, found_size) != (name, size):
        return False
    return found_time == modified_ns or (digest != "" and _digest(file) == digest)


def _stamp(file: Path) -> tuple[str, int, int]:
    """A file's name, size in bytes, and when it was last written."""
    status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns


def _digest(file: Path) -> str:
    """The content of a file, hashed; "" for a file that is too large for that."""
    if file.stat().st_size > HASHED_BYTES:
        return ""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "blake2b").hexdigest()


def _places(folder: Path, files: Sequence[Path]) -> tuple[Path, Path]:
    """Where the copy of a set may lie: beside it, or with temporary files if nothing can be written there."""
    name = COPY_NAME if len(files) > 1 or files[0].name == FILE_NAME else f".{files[0].stem}.arrow"
    elsewhere = hashlib.sha256(str(folder / name).encode(errors="surrogateescape")).hexdigest()[:16]
    return folder / name, Path(tempfile.gettempdir(), f"curlvpr-{os.getuid()}", f"{elsewhere}.arrow")
