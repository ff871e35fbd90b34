"""Checks a task set row by row: what each row says, what rows say of each other, and every image file.

It reads a set of any size in small pieces and keeps only hashes of ids, patients and image paths. What is a fault:

| kind | the row |
|---|---|
| a column's name | has a value there that no task may have: an empty question, an unknown split |
| `answer` | has a gold that is not among the options, a box that is none, or another rule of `Task` broken |
| `duplicate id` | has the id of a row above |
| `two splits` | is in another split than the first row of its patient, or of one of its images |
| `image` | asks about an image that is missing or cannot be decoded to its end |

Rows whose task is wrong take part in the comparisons too, as far as they can, so that one pass tells everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import get_args

from curriculum.images import ImageError, check_image
from curriculum.task import Split
from curriculum.taskset import RowFault, Size, TaskRow, each_row

ROWS_AT_ONCE = 1024
_SPLITS = get_args(Split)


def check_tasks(path: Path) -> Iterator[TaskRow]:
    """Every row of a task set, in order, with all its faults. An image that many rows ask about is decoded once.

    Args:
        path: the file, or the folder that holds tasks.parquet.

    Raises:
        TaskSetError: no row can be read: no such file, not Parquet, a column missing or unknown. Or the file breaks off.
    """
    first: dict[int, int] = {}  # patient or image (hashed) to the row and split where it stands first, in one number
    looked_at: dict[int, Size | str] = {}  # image (hashed) to its size, or to what is wrong with it
    sizes: dict[Size, Size] = {}  # one object for each size, however many images have it
    rows = each_row(path)
    with ThreadPoolExecutor() as pool:  # Pillow decodes without Python's lock
        while chunk := list(islice(rows, ROWS_AT_ONCE)):
            named = dict.fromkeys(image for _, values in chunk for image in _images(values))
            fresh = [image for image in named if hash(image) not in looked_at]
            for image, found in zip(fresh, pool.map(_look_at, fresh), strict=True):
                looked_at[hash(image)] = sizes.setdefault(found, found)
            unseen = set(fresh)
            for row, values in chunk:
                row.faults += _leak(row, values, first)
                images = {image: looked_at[hash(image)] for image in _images(values)}
                row.faults += [RowFault("image", found) for found in images.values() if isinstance(found, str)]
                row.new_sizes = [
                    found for image, found in images.items() if image in unseen and not isinstance(found, str)
                ]
                unseen -= images.keys()
                if row.task and not any(isinstance(found, str) for found in images.values()):
                    row.sizes = tuple(images[image] for image in row.task.images)
                yield row


def _images(values: dict[str, object]) -> list[str]:
    """The different images that a row names, where its column is what it should be."""
    images = values["images"]
    return list(dict.fromkeys(i for i in images if isinstance(i, str))) if isinstance(images, list) else []


def _look_at(image: str) -> Size | str:
    try:
        return check_image(image)
    except ImageError as error:
        return str(error)


def _leak(row: TaskRow, values: dict[str, object], first: dict[int, int]) -> list[RowFault]:
    """The row's patient, or else one of its images, stands in another split above."""
    split = values.get("split", "train")
    if split not in _SPLITS:
        return []
    patient = values.get("patient")
    who = [("patient", patient)] if isinstance(patient, str) and patient else []
    here = row.number * len(_SPLITS) + _SPLITS.index(split)
    faults = []
    for what, name in who + [("image", image) for image in _images(values)]:
        above = first.setdefault(hash((what, name)), here)
        number, there = divmod(above, len(_SPLITS))
        row.new_patient |= what == "patient" and above == here
        if _SPLITS[there] != split:
            faults.append(
                RowFault(
                    "two splits",
                    f"{what} {name!r} is in split {split!r} here and in {_SPLITS[there]!r} in row "
                    f"{number}; {'a' if what == 'patient' else 'an'} {what} must be in one split only",
                )
            )
    return faults[:1]
