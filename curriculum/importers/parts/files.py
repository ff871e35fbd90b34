"""Reading the tables that data sets ship, with one-line errors."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from curriculum.missing import MISSING_WORDS, valid_text
from curriculum.taskset import TaskSetError

_EMPTY = MISSING_WORDS - {"na", "-", "--"}  # these three may be names
_DELIMITERS = (",", ";", "\t")
_SEPARATOR = re.compile(r"\ufeff?sep=(.)")
"""A line that spreadsheets put before the header."""


def read_csv(path: Path, required: Iterable[str], expected: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file, plain or .gz, each with its place in words; a missing cell (also nan, NULL, N/A) is "".

    Files as spreadsheets save them are read: cells between ";" or tabs, a first line "sep=;", a byte order mark,
    UTF-16, ends of lines as on Windows, and rows of empty cells, which are passed over.

    Args:
        path: the file.
        required: columns that must be there.
        expected: the file that is expected, for messages, such as "NIH's Data_Entry_2017.csv".

    Raises:
        TaskSetError: there is no such file, it is not a CSV file, or a column is missing.
    """
    number = -1
    open_file = gzip.open if path.suffix == ".gz" else open
    try:
        with open_file(path, "rb") as file:
            encoding = "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        with open_file(path, "rt", encoding=encoding, newline="") as file:
            header = file.readline()
            told = _SEPARATOR.fullmatch(header.strip())
            if told:
                header = file.readline()
            delimiter = told[1] if told else _delimiter(header, required)
            reader = csv.DictReader(chain([header], file), delimiter=delimiter)
            columns = [valid_text(name).strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            for name in required:
                if name not in columns:
                    raise TaskSetError(f"{path}: column {name!r} is missing; found {columns}; {expected} is needed")
            for number, row in enumerate(reader):
                place = f"{path}: row {number} (0-based, without the header)"
                cells = {name: _cell(value) for name, value in row.items() if name is not None}
                if any(cells.values()):
                    yield place, cells
    except UnicodeError as error:
        raise TaskSetError(
            f"{path}: not a readable CSV file; {expected} is needed; near row {number + 1} (0-based) it is not UTF-8 "
            f"({getattr(error, 'reason', error)}): save it as UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise TaskSetError(f"{path}: not a readable CSV file; {expected} is needed ({error})") from error


def _delimiter(header: str, required: Iterable[str]) -> str:
    """What stands between the names of a header: what gives the names that are required, or else the most names."""
    needed = set(required)
    names = {
        delimiter: [valid_text(name).strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        for delimiter in _DELIMITERS
    }
    return max(names, key=lambda delimiter: (needed <= set(names[delimiter]), len(names[delimiter])))


def _cell(text: str | None) -> str:
    cell = valid_text(text or "").strip()
    return "" if cell.casefold() in _EMPTY else cell
