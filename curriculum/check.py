"""Checks a task set row by row: each row by itself, rows against each other, and every image file.

It reads a set of any size in small pieces and keeps only hashes of ids, patients and image paths. The kinds of faults:

| kind | the row |
|---|---|
| a column's name | has a value there that no task may have: an empty question, an unknown split |
| `answer` | has a gold that is not among the options, an invalid box, or breaks another rule of `Task` |
| `duplicate id` | has the id of a row above |
| `two splits` | is in another split than the first row of its patient, or of one of its images |
| `image` | asks about an image that is missing or cannot be decoded to its end |

Rows with an invalid task are compared with others too, as far as possible, so that one pass reports everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast, get_args

from curriculum.checked_images import CheckedImages, stamp_of
from curriculum.images import ImageError, check_image
from curriculum.task import Split
from curriculum.taskset import RowFault, Size, TaskRow, each_row, task_file

ROWS_AT_ONCE = 1024
_SPLITS = get_args(Split)


def check_tasks(path: Path, again: bool = True) -> Iterator[TaskRow]:
    """Every row of a task set, in order, with all its faults. An image that many rows ask about is decoded once.

    Args:
        path: the file, or the folder that holds tasks.parquet.
        again: decode also images that were found right before and have not changed since (`CheckedImages`).

    Raises:
        TaskSetError: no row can be read: there is no such file, it is not Parquet, a column is missing or unknown. Or
            the file breaks off.
    """
    places: dict[int, int] = {}  # patient or image (hashed) to its first row and that row's split, in one number
    decoded: dict[int, Size | str] = {}  # image (hashed) to its size, or to what is wrong with it
    sizes: dict[Size | str, Size | str] = {}  # one object for each size, however many images have it
    checked = CheckedImages(task_file(path).parent)
    decode = partial(_decode, checked=checked, again=again)
    rows = each_row(path)
    try:
        with ThreadPoolExecutor() as pool:  # Pillow decodes without Python's lock
            while chunk := list(islice(rows, ROWS_AT_ONCE)):
                new_images = _new_images(chunk, decoded)
                for image, result in zip(new_images, pool.map(decode, new_images), strict=True):
                    decoded[hash(image)] = sizes.setdefault(result, result)
                unseen = set(new_images)
                for row, values in chunk:
                    row.faults += _split_faults(row, values, places)
                    _add_images(row, {image: decoded[hash(image)] for image in _images(values)}, unseen)
                    yield row
    finally:
        checked.save()  # also if the rest is given up: a second try then begins where this one ended


def _new_images(chunk: list[tuple[TaskRow, dict[str, Any]]], decoded: dict[int, Size | str]) -> list[str]:
    """The images of some rows that were not decoded before, each once."""
    images: dict[str, None] = {}
    for _, values in chunk:
        images.update(dict.fromkeys(_images(values)))
    return [image for image in images if hash(image) not in decoded]


def _add_images(row: TaskRow, results: dict[str, Size | str], unseen: set[str]) -> None:
    """Records the sizes and faults of a row's images, and takes them out of the unseen ones."""
    readable = True
    for image, result in results.items():
        if isinstance(result, str):
            row.faults.append(RowFault("image", result))
            readable = False
        elif image in unseen:
            row.new_sizes.append(result)
    unseen.difference_update(results)
    if row.task and readable:
        row.sizes = tuple(cast(Size, results[image]) for image in row.task.images)


def _images(values: dict[str, Any]) -> list[str]:
    """The images that a row names, each once; none if the column has another type."""
    images = values["images"]
    if not isinstance(images, list):
        return []
    return list(dict.fromkeys(image for image in images if isinstance(image, str)))


def _decode(image: str, checked: CheckedImages, again: bool) -> Size | str:
    """The size of an image, or what is wrong with it."""
    stamp = stamp_of(image)
    size = None if again else checked.size_of(image, stamp)
    if size is None:
        try:
            size = check_image(image)
        except ImageError as error:
            return str(error)
        checked.add(image, stamp, size)
    return size


def _split_faults(row: TaskRow, values: dict[str, Any], places: dict[int, int]) -> list[RowFault]:
    """One fault if an earlier row has the row's patient, or else one of its images, in another split; else none."""
    split = values.get("split", "train")
    if split not in _SPLITS:
        return []
    patient = values.get("patient")
    named = [("image", image) for image in _images(values)]
    if isinstance(patient, str) and patient:
        named.insert(0, ("patient", patient))
    place = row.number * len(_SPLITS) + _SPLITS.index(split)
    faults = []
    for kind, name in named:
        first_place = places.setdefault(hash((kind, name)), place)
        number, index = divmod(first_place, len(_SPLITS))
        row.new_patient |= kind == "patient" and first_place == place
        if _SPLITS[index] != split:
            article = "a" if kind == "patient" else "an"
            reason = (
                f"{kind} {name!r} is in split {split!r} here and in {_SPLITS[index]!r} in row {number}; "
                f"{article} {kind} must be in one split only"
            )
            faults.append(RowFault("two splits", reason))
    return faults[:1]
