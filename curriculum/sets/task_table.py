"""Tasks of one or several sets, as a sequence that builds a task when it is asked for.

What a run needs to know of all tasks at once (families, splits, findings) is read from columns, never task by task.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curriculum.sets.mapped import MappedTasks, hold_tasks, open_tasks
from curriculum.task import Split, Task
from curriculum.taskset import MAPS, TaskSetError, task_file


class Part(NamedTuple):
    """A set of a table, under the name of its source; the only set of a run has the name ""."""

    source: str
    tasks: MappedTasks


class TaskTable(Sequence[Task]):
    """Some rows of some sets, all of them valid tasks.

    A task of a named source has the source's name before its id ("mimic/p10-s50-0") and as its `source`.

    Args:
        parts: the sets.
        rows: [tasks] int64, numbers of rows, counted through all parts.
    """

    def __init__(self, parts: Sequence[Part], rows: np.ndarray) -> None:
        self.parts = parts
        self.rows = rows
        self._starts = np.cumsum([0, *(len(part.tasks) for part in parts)])

    @classmethod
    def of(cls, tasks: Iterable[Task]) -> TaskTable:
        """Tasks that lie in memory."""
        held = hold_tasks(tasks)
        return cls([Part("", held)], np.arange(len(held)))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Task: ...

    @overload
    def __getitem__(self, index: slice) -> TaskTable: ...

    def __getitem__(self, index: int | slice) -> Task | TaskTable:
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        row = int(self.rows[index])
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        source, tasks = self.parts[number]
        task = tasks.task(row - int(self._starts[number]))
        return task.model_copy(update={"id": f"{source}/{task.id}", "source": source}) if source else task

    def row(self, index: int, *columns: str) -> dict[str, Any]:
        """Some columns of a task, which is not built; letters and their texts as dicts. A named source's id has its
        name in front.
        """
        place = int(self.rows[index])
        number = int(np.searchsorted(self._starts, place, side="right")) - 1
        source, tasks = self.parts[number]
        values = tasks.row(place - int(self._starts[number]), columns)
        values |= {name: dict(values[name]) for name in MAPS if name in values}
        if source and "id" in values:
            values["id"] = f"{source}/{values['id']}"
        return values

    def select(self, positions: np.ndarray) -> TaskTable:
        """The tasks at some positions, or where a mask is true."""
        return TaskTable(self.parts, self.rows[positions])

    def where(self, column: str, values: Collection[str]) -> TaskTable:
        """The tasks with one of some values in a column that repeats few texts, such as "family"."""
        texts, codes = self.codes(column)
        return self.select(np.isin(codes, [code for code, text in enumerate(texts) if text in values]))

    def of_sources(self, sources: Collection[str]) -> TaskTable:
        """The tasks of some sources, by name."""
        return self.select(np.isin(self.sources, [n for n, part in enumerate(self.parts) if part.source in sources]))

    def of_split(self, split: Split) -> TaskTable:
        return self.where("split", {split})

    @cached_property
    def families(self) -> Mapping[str, np.ndarray]:
        """Family to the positions of its tasks, in the order of the first of each."""
        return self.positions("family")

    def positions(self, column: str) -> dict[str, np.ndarray]:
        """Value to the positions of the tasks that have it, in the order of the first of each."""
        texts, codes = self.codes(column)
        order: np.ndarray = np.argsort(codes, kind="stable")
        edges = np.asarray(np.searchsorted(codes[order], np.arange(len(texts) + 1)))
        found = {
            text: order[low:high] for text, low, high in zip(texts, edges[:-1], edges[1:], strict=True) if high > low
        }
        return dict(sorted(found.items(), key=lambda item: int(item[1][0])))

    def codes(self, column: str) -> tuple[list[str], np.ndarray]:
        """A column of few texts: its texts, and for each task the number of its own."""
        texts: dict[str, int] = {}
        of_all = []
        for part in self.parts:
            encoded = part.tasks.column(column)
            of_part = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
            numbers = np.array([texts.setdefault(text, len(texts)) for text in of_part] + [-1], np.int32)
            for chunk in encoded.chunks:
                of_all.append(numbers[chunk.indices.fill_null(len(of_part)).to_numpy(zero_copy_only=False)])
        codes = np.concatenate(of_all) if of_all else np.zeros(0, np.int32)
        return list(texts), codes[self.rows]

    @cached_property
    def sources(self) -> np.ndarray:
        """[tasks] the number of each task's part."""
        return np.asarray(np.searchsorted(self._starts, self.rows, side="right")) - 1

    def values(self, *columns: str) -> Iterator[dict[str, Any]]:
        """Some columns of each task, without the names of sources; letters and their texts as dicts."""
        for batch, rows in self._batches():
            values = batch.select(columns).take(pa.array(rows)).to_pylist()
            for row in values:
                row |= {name: dict(row[name]) for name in MAPS if name in row}
            yield from values

    def lengths(self, column: str) -> np.ndarray:
        """[tasks] the length of a list or a text (in bytes) of each task; 0 where there is none."""
        of_batches = [_lengths(batch.column(column))[rows] for batch, rows in self._batches()]
        return np.concatenate(of_batches) if of_batches else np.zeros(0, np.int64)

    def find(self, ids: Collection[str]) -> dict[str, Task]:
        """The tasks with these ids, by id; ids that no task has are left out."""
        rows: list[np.ndarray] = [np.zeros(0, int)]
        for (source, tasks), start in zip(self.parts, self._starts[:-1], strict=True):
            prefix = f"{source}/" if source else ""
            wanted = pa.array([id.removeprefix(prefix) for id in ids if id.startswith(prefix)], pa.string())
            for batch in tasks.batches:
                rows.append(start + np.flatnonzero(pc.is_in(batch.column("id"), wanted)))
                start += batch.num_rows
        found = self.select(np.flatnonzero(np.isin(self.rows, np.concatenate(rows))))
        return {task.id: task for task in found}

    def _batches(self) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        """The batches that hold the tasks, in the order of the tasks, each with the rows in it."""
        batches = [batch for part in self.parts for batch in part.tasks.batches]
        starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
        numbers = np.asarray(np.searchsorted(starts, self.rows, side="right")) - 1
        edges: list[int] = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1)).tolist()
        for low, high in pairwise(edges):
            number = int(numbers[low])
            yield batches[number], self.rows[low:high] - starts[number]


def _lengths(column: pa.Array) -> np.ndarray:
    length = pc.list_value_length if pa.types.is_list(column.type) else pc.binary_length
    return length(column).fill_null(0).to_numpy(zero_copy_only=False)


def read_task_table(path: Path) -> TaskTable:
    """The tasks of one set. Whether its splits overlap is not asked.

    Raises:
        TaskSetError: as `mapped.open_tasks`; or a row is not a valid task, or an id is used twice.
    """
    tasks = open_tasks(path)
    for row, _ in tasks.rows_with(()):
        for fault in row.faults:
            if fault.kind != "two splits":
                raise TaskSetError(f"{task_file(path)}: {row.describe(fault)}")
    return TaskTable([Part("", tasks)], np.arange(len(tasks)))


def valid_tasks(sets: Mapping[str, Path]) -> TaskTable:
    """All valid tasks of some sets, whether or not their rows have faults.

    Args:
        sets: name of a source to its set; "" names the only set of a run.

    Raises:
        TaskSetError: as `mapped.open_tasks`.
    """
    parts = [Part(source, open_tasks(path)) for source, path in sets.items()]
    valid: list[np.ndarray] = [np.zeros(0, bool)]
    for part in parts:
        valid += [np.asarray(batch.column("invalid").is_null()) for batch in part.tasks.batches]
    return TaskTable(parts, np.flatnonzero(np.concatenate(valid)))
