"""Reading the tables that data sets ship, with one-line errors."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from curriculum.missing import MISSING_WORDS, valid_text
from curriculum.taskset import TaskSetError

_EMPTY = MISSING_WORDS - {"na", "-", "--"}  # these three may be names


def read_csv(
    path: Path, required: Iterable[str], expected: str, delimiter: str = ","
) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file, plain or .gz, each with its place in words; a missing cell (also nan, NULL, N/A) is "".

    Args:
        path: the file.
        required: columns that must be there.
        expected: the file that is expected, for messages, such as "NIH's Data_Entry_2017.csv".
        delimiter: between cells.

    Raises:
        TaskSetError: there is no such file, it is not a CSV file, or a column is missing.
    """
    number = 0
    open_file = gzip.open if path.suffix == ".gz" else open
    try:
        with open_file(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            columns = [valid_text(name).strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            for name in required:
                if name not in columns:
                    raise TaskSetError(f"{path}: column {name!r} is missing; found {columns}; {expected} is needed")
            for row in reader:
                place = f"{path}: row {number} (0-based, without the header)"
                yield place, {name: _cell(value) for name, value in row.items() if name is not None}
                number += 1
    except UnicodeDecodeError as error:
        raise TaskSetError(
            f"{path}: not a readable CSV file; {expected} is needed; near row {number} (0-based) it is not UTF-8 "
            f"({error.reason}): save it as UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise TaskSetError(f"{path}: not a readable CSV file; {expected} is needed ({error})") from error


def _cell(text: str | None) -> str:
    cell = valid_text(text or "").strip()
    return "" if cell.casefold() in _EMPTY else cell
