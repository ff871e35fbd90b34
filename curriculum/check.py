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

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path

from curriculum.sets.checked_images import CheckedImages
from curriculum.sets.cores import Cores
from curriculum.sets.decoding import decode_images
from curriculum.sets.mapped import MappedTasks, Spread, open_tasks
from curriculum.sets.stamp import stamp_of
from curriculum.taskset import RowFault, Size, TaskRow

IMAGES_AT_ONCE = 16
IMAGES_AT_ONCE_ELSEWHERE = 64
"""Of a given spread, as on a cluster, where each part has a price of its own."""
Results = dict[str, Size | str]
"""An image to its size, or to what is wrong with it."""


def check_tasks(
    path: Path,
    again: bool = True,
    spread: Spread | None = None,
    decoding: Callable[[int, int], None] = lambda done, images: None,
) -> Iterator[TaskRow]:
    """Every row of a task set, in order, with all its faults. An image that many rows ask about is decoded once, before
    the first of them comes; others decode the next ones while the caller looks at a row.

    Args:
        path: the file, or the folder that holds the set.
        again: decode also images that were found right before and have not changed since (`CheckedImages`).
        spread: who reads the set and decodes images; the cores of this machine (`Cores`) if None.
        decoding: is told how many of the images to be decoded are done.

    Raises:
        TaskSetError: as `open_tasks`.
        ChildProcessError: as `Cores`.
    """
    with nullcontext(spread) if spread else Cores() as chosen:
        tasks = open_tasks(path, chosen)
        images, results = tasks.images(), Results()
        unseen = set(images)
        at_once = IMAGES_AT_ONCE_ELSEWHERE if spread else IMAGES_AT_ONCE
        with closing(_decode(tasks.root, images, again, chosen, at_once, results, decoding)) as parts:
            for row, named in tasks.each_row():
                while any(image not in results for image in named):
                    next(parts)
                _add_images(row, named, results, unseen)
                yield row


def bad_rows(tasks: MappedTasks) -> Iterator[TaskRow]:
    """The rows of a set that have a fault, as `check_tasks` finds them. Tasks without fault are not built.

    Raises:
        ChildProcessError: as `Cores`.
    """
    with Cores() as cores:
        results = Results()
        for _ in _decode(tasks.root, tasks.images(), False, cores, IMAGES_AT_ONCE, results):
            pass
    bad = [image for image, result in results.items() if isinstance(result, str)]
    for row, images in tasks.rows_with(bad):
        _add_images(row, images, results, set())
        yield row


def _decode(
    root: str,
    images: Sequence[str],
    again: bool,
    spread: Spread,
    at_once: int,
    results: Results,
    decoding: Callable[[int, int], None] = lambda done, images: None,
) -> Generator[None]:
    """Adds the results of all images of a set: first those that are known, then part by part in their order. Yields
    after each of these steps.

    Args:
        root: the folder of the set.
        images: in the order in which rows name them.
        at_once: images of a part of the work.
        again, spread, decoding: as of `check_tasks`.
    """
    checked = CheckedImages(Path(root))
    sizes: dict[Size, Size] = {}  # one object for each size, however many images have it
    unknown = []
    for image in images:
        size = None if again else checked.size_of(image, stamp_of(image))
        if size is None:
            unknown.append(image)
        else:
            results[image] = size
    parts = [unknown[first : first + at_once] for first in range(0, len(unknown), at_once)]
    yield
    done = 0
    try:
        for part, found in zip(parts, spread(decode_images, parts), strict=True):
            for image, result in zip(part, found, strict=True):
                if isinstance(result, str):
                    results[image] = result
                else:
                    results[image] = sizes.setdefault(result.size, result.size)
                    checked.add(image, *result)
            done += len(part)
            decoding(done, len(unknown))
            yield
    finally:
        checked.save()  # also if the rest is given up: a second try then begins where this one ended


def _add_images(row: TaskRow, images: Sequence[str], results: Results, unseen: set[str]) -> None:
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
