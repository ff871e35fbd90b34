"""Checks a task set row by row: each row by itself, rows against each other, and every image file.

Images are decoded here; all else is known from the set's mapped copy (`curriculum.sets.mapped`). The kinds of faults:

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

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from curriculum.images import ImageError, load_image
from curriculum.sets.checked_images import CheckedImages, Stamp, stamp_of
from curriculum.sets.film_look import film_look
from curriculum.sets.mapped import MappedTasks, Spread, open_tasks
from curriculum.taskset import RowFault, Size, TaskRow

IMAGES_AT_ONCE = 64


class Decoded(NamedTuple):
    """What an image that was decoded to its end has: width and height in pixels, and its look (`film_look`)."""

    size: Size
    look: bytes


def on_threads(function: Callable[[Any], Any], parts: Sequence[Any]) -> Iterator[Any]:
    """A `Spread` over this machine's cores, for what leaves Python's lock, as Pillow does while it decodes."""
    with ThreadPoolExecutor() as pool:
        yield from pool.map(function, parts)


def check_tasks(
    path: Path,
    again: bool = True,
    spread: Spread | None = None,
    decoding: Callable[[int, int], None] = lambda done, images: None,
) -> Iterator[TaskRow]:
    """Every row of a task set, in order, with all its faults. An image that many rows ask about is decoded once.

    Args:
        path: the file, or the folder that holds the set.
        again: decode also images that were found right before and have not changed since (`CheckedImages`).
        spread: who reads the set and decodes images; this process if None.
        decoding: is told how many of the images to be decoded are done.

    Raises:
        TaskSetError: as `open_tasks`.
    """
    tasks = open_tasks(path, spread or map)
    results = check_images(tasks, again, spread, decoding)
    unseen = set(results)
    for row, images in tasks.each_row():
        _add_images(row, images, results, unseen)
        yield row


def bad_rows(tasks: MappedTasks) -> Iterator[TaskRow]:
    """The rows of a set that have a fault, as `check_tasks` finds them. Tasks without fault are not built."""
    results = check_images(tasks, again=False)
    bad = [image for image, result in results.items() if isinstance(result, str)]
    for row, images in tasks.rows_with(bad):
        _add_images(row, images, results, set())
        yield row


def check_images(
    tasks: MappedTasks,
    again: bool,
    spread: Spread | None = None,
    decoding: Callable[[int, int], None] = lambda done, images: None,
) -> dict[str, Size | str]:
    """The size of each image of a set, or what is wrong with it. Arguments as of `check_tasks`."""
    checked = CheckedImages(Path(tasks.root))
    sizes: dict[Size, Size] = {}  # one object for each size, however many images have it
    results: dict[str, Size | str] = {}
    stamps: dict[str, Stamp | None] = {}  # of images to be decoded
    for image in tasks.images():
        stamp = stamp_of(image)
        size = None if again else checked.size_of(image, stamp)
        results[image] = size or ""
        if size is None:
            stamps[image] = stamp
    unknown = list(stamps)
    parts = [unknown[first : first + IMAGES_AT_ONCE] for first in range(0, len(unknown), IMAGES_AT_ONCE)]
    done = 0
    try:
        for part, found in zip(parts, (spread or on_threads)(decode_images, parts), strict=True):
            for image, result in zip(part, found, strict=True):
                if isinstance(result, str):
                    results[image] = result
                else:
                    results[image] = sizes.setdefault(result.size, result.size)
                    checked.add(image, stamps[image], *result)
            done += len(part)
            decoding(done, len(unknown))
    finally:
        checked.save()  # also if the rest is given up: a second try then begins where this one ended
    return results


def decode_images(images: Sequence[str]) -> list[Decoded | str]:
    """Each of some images decoded to its end, or what is wrong with it."""
    return [_decode(image) for image in images]


def _decode(image: str) -> Decoded | str:
    try:
        decoded = load_image(image)
    except ImageError as error:
        return str(error)
    return Decoded(decoded.size, film_look(decoded))


def _add_images(row: TaskRow, images: Sequence[str], results: dict[str, Size | str], unseen: set[str]) -> None:
    """Records the sizes and faults of a row's images, and takes them out of the unseen ones."""
    for image in dict.fromkeys(images):
        result = results[image]
        if isinstance(result, str):
            row.faults.append(RowFault("image", result))
        elif image in unseen:
            row.new_sizes.append(result)
    unseen.difference_update(images)
    sizes = [size for size in map(results.__getitem__, images) if not isinstance(size, str)]
    if row.task and len(sizes) == len(images):
        row.sizes = tuple(sizes)
