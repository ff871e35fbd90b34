"""Reading the tables that data sets ship, with one-line errors."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

from curriculum.taskset import TaskSetError


def read_csv(
    path: Path, required: Iterable[str], what: str, delimiter: str = ","
) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file, plain or .gz, each with its place in words; a missing cell is "".

    Args:
        required: columns that must be there.
        what: the file that is expected, for messages, such as "NIH's Data_Entry_2017.csv".

    Raises:
        TaskSetError: no such file, not a CSV file, or a column missing.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            columns = reader.fieldnames or []
            if missing := [name for name in required if name not in columns]:
                raise TaskSetError(f"{path}: column {missing[0]!r} is missing; found {list(columns)}; {what} is needed")
            for number, row in enumerate(reader):
                yield (
                    f"{path}: row {number} (0-based, without the header)",
                    {name: value or "" for name, value in row.items() if name is not None},
                )
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TaskSetError(f"{path}: not a readable CSV file; {what} is needed ({error})") from error
