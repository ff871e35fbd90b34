"""Reading the tables that data sets ship, with one-line errors."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

from curriculum.taskset import TaskSetError


def read_csv(
    path: Path, required: Iterable[str], expected: str, delimiter: str = ","
) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file, plain or .gz, each with its place in words; a missing cell is "".

    Args:
        path: the file.
        required: columns that must be there.
        expected: the file that is expected, for messages, such as "NIH's Data_Entry_2017.csv".
        delimiter: between cells.

    Raises:
        TaskSetError: there is no such file, it is not a CSV file, or a column is missing.
    """
    open_file = gzip.open if path.suffix == ".gz" else open
    try:
        with open_file(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            columns = list(reader.fieldnames or ())
            for name in required:
                if name not in columns:
                    raise TaskSetError(f"{path}: column {name!r} is missing; found {columns}; {expected} is needed")
            for number, row in enumerate(reader):
                place = f"{path}: row {number} (0-based, without the header)"
                yield place, {name: value or "" for name, value in row.items() if name is not None}
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TaskSetError(f"{path}: not a readable CSV file; {expected} is needed ({error})") from error
