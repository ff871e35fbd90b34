"""Patients and films that one source of a run trains on and another one holds out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from curriculum.images import ImageError, load_image
from curriculum.sets.checked_images import CheckedImages
from curriculum.sets.film_look import LOOK_BYTES, alike, same_film
from curriculum.sets.task_table import TaskTable
from curriculum.taskset import absolute_image

_FILM = "film "
_BLANK = 16
"""Bits of a look that must differ from all others: a film of one shade looks like every other such film."""


class _Asked(NamedTuple):
    """A task, as far as it matters here."""

    row: int
    source: str
    split: str
    patient: str
    images: tuple[str, ...]


def overlaps(tasks: TaskTable) -> dict[int, str]:
    """The train tasks that ask about a patient or a film which another source holds out (val or test).

    A patient is known by the name and the data set (`Task.source`), as importers write them; a film by its path, or by
    what it shows, however it was encoded.

    Returns:
        Row of the table to the reason, in words.
    """
    held: dict[str, str] = {}  # patient or film to the source that holds it out
    shown: dict[str, str] = {}  # film to the source that trains on it
    for task in _asked(tasks):
        for name in _names(task):
            (shown if task.split == "train" else held).setdefault(name, task.source)
    same = _same_films(tasks, shown, held)
    reasons: dict[int, str] = {}
    for task in _asked(tasks):
        for name in _names(task) if task.split == "train" else ():
            found = same.get(name, name)
            source = held.get(found, task.source)
            if source != task.source:
                twin = "" if found == name else f" shows the film that {found.removeprefix(_FILM)} shows, which"
                reasons.setdefault(task.row, f"{name}{twin} is held out by source {source!r}")
    return reasons


def _asked(tasks: TaskTable) -> Iterator[_Asked]:
    roots = [part.tasks.root for part in tasks.parts]
    values = tasks.values("split", "source", "patient", "images")
    for row, number, task in zip(tasks.rows.tolist(), tasks.sources.tolist(), values, strict=True):
        patient = f"patient {task['patient']!r} of {task['source'] or 'an unnamed data set'}" if task["patient"] else ""
        images = tuple(absolute_image(image, roots[number]) for image in task["images"])
        yield _Asked(row, tasks.parts[number].source, task["split"], patient, images)


def _names(task: _Asked) -> Iterator[str]:
    if task.patient:
        yield task.patient
    for image in task.images:
        yield f"{_FILM}{image}"


def _same_films(tasks: TaskTable, shown: dict[str, str], held: dict[str, str]) -> dict[str, str]:
    """Films that one source trains on, each with a film that another one holds out and that shows the same."""
    looks: dict[str, np.ndarray] = {}
    for part in tasks.parts:
        for image, look in CheckedImages(Path(part.tasks.root)).looks().items():
            bits = np.frombuffer(look, np.uint8)
            if _BLANK <= int(np.bitwise_count(bits).sum()) <= 8 * LOOK_BYTES - _BLANK:
                looks[f"{_FILM}{image}"] = bits
    ours, theirs = ([name for name in names if name in looks] for names in (shown, held))
    same: dict[str, str] = {}
    for number, other in alike(_array(looks, ours), _array(looks, theirs)):
        film, twin = ours[number], theirs[other]
        new = film != twin and shown[film] != held[twin] and film not in same
        if new and _show_the_same(film, twin):
            same[film] = twin
    return same


def _array(looks: dict[str, np.ndarray], films: list[str]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.uint8), *(looks[film] for film in films)]).reshape(-1, LOOK_BYTES)


def _show_the_same(first: str, second: str) -> bool:
    try:
        return same_film(*(load_image(film.removeprefix(_FILM)) for film in (first, second)))
    except ImageError:
        return False
