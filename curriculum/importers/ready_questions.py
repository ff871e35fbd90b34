"""What importers of ready questions share: find the images, keep those of one split together, write the tasks."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from curriculum.importers.films import ImportSummary, Label, index_images, locate, split_patients
from curriculum.task import Task
from curriculum.taskset import FILE_NAME, TaskSetError, write_tasks

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class ReadyQuestion:
    """A question that a set ships. The task's `images` are as the set writes them; its split and patient are not read."""

    where: str  # file and row, for messages
    task: Task
    split: str = ""  # train, val or test; empty where the set does not say


def import_asked(
    rows: Iterable[ReadyQuestion], images: Path | None, labels: Path, out: Path, seed: int, skipped: Counter[str]
) -> ImportSummary:
    """Writes `out`/tasks.parquet with the questions whose images are there.

    An image is named by an absolute path, or by the end of its path below `images`. Questions that share an image,
    directly or through others, have one split and are one patient (the sets tell no patients). Given splits are
    kept as `films.split_patients` says.

    Args:
        labels: the file or folder of the questions, for messages.
        skipped: rows that the reader left out by reason; it is filled while `rows` are read.

    Raises:
        TaskSetError: an image is in two splits, two images below `images` are called alike, none of the images is
            there, or `images` is needed and None.
    """
    rows = list(rows)
    names = {name: row.where for row in rows for name in row.task.images}
    paths = _find(names, images)
    missing = [name for name, path in paths.items() if path is None]
    present = [row for row in rows if all(paths[name] for name in row.task.images)]
    if not present:
        fault = f"no image is there, the first would be {missing[0]}" if missing else "no question could be read"
        reasons = (f"; skipped {count} questions {why}" for why, count in skipped.items())
        raise TaskSetError(f"{labels}: {fault}{''.join(reasons)}")
    if len(rows) > len(present):
        skipped["without their image file"] += len(rows) - len(present)
    first_of = _together([row.task.images for row in present])
    patients = {name: _short(paths[first], images) for name, first in first_of.items()}
    labelled = [
        Label(row.where, row.task.id, row.task.images[0], patients[row.task.images[0]], split=row.split)
        for row in present
    ]
    splits, splits_from = split_patients(labelled, labels, seed)
    tasks = (
        row.task.model_copy(
            update={
                "images": tuple(paths[name] for name in row.task.images),
                "patient": label.patient,
                "split": splits[label.patient],
            }
        )
        for row, label in zip(present, labelled, strict=True)
    )
    used = {paths[name] for row in present for name in row.task.images}
    summary = ImportSummary(out / FILE_NAME, splits_from, len(used), missing=missing, skipped=skipped, rows="questions")
    write_tasks(summary.counted(tasks), out)
    return summary


def files_of(labels: Path, suffixes: Sequence[str]) -> list[Path]:
    """The file itself, or those of a folder that have one of the suffixes, by name.

    Raises:
        TaskSetError: there is none.
    """
    files = sorted(path for path in labels.iterdir() if path.suffix in suffixes) if labels.is_dir() else [labels]
    if wrong := [path for path in files if path.suffix not in suffixes or not path.is_file()]:
        raise TaskSetError(f"{wrong[0]}: a {' or '.join(suffixes)} file, or a folder of such files, is needed here")
    if not files:
        raise TaskSetError(f"{labels}: no {' or '.join(suffixes)} file is in this folder")
    return files


def read_split(given: object, path: Path, where: str) -> str:
    """The split that a row gives or its file's name tells ("slake_test", "train-00000-of-00001"); "" where neither does.

    Raises:
        TaskSetError: the row gives something that is no split.
    """
    words = re.split(r"[^a-z]+", str(given or path.stem).lower())
    found = {_SPLIT_NAMES[word] for word in words if word in _SPLIT_NAMES}
    if given and len(found) != 1:
        raise TaskSetError(f"{where}: split {given!r:.40} must be train, val or test")
    return found.pop() if len(found) == 1 else ""


def read_json(path: Path) -> Iterator[dict]:
    """The objects of a .json file that holds a list, or of a .jsonl file.

    Raises:
        TaskSetError: no such file, not JSON, or something else than objects.
    """
    needed = "an object a line is needed" if path.suffix == ".jsonl" else "a list of objects is needed"
    try:
        with open(path, encoding="utf-8-sig") as file:
            rows = (json.loads(line) for line in file if line.strip()) if path.suffix == ".jsonl" else json.load(file)
            for number, row in enumerate(rows):
                if not isinstance(row, dict):
                    raise TaskSetError(f"{path}: row {number} (0-based) is {row!r:.40}; {needed}")
                yield row
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, TypeError) as error:
        raise TaskSetError(f"{path}: not a readable JSON file; {needed} ({error})") from error


def text_of(row: dict, name: str, where: str) -> str:
    """A field as text, stripped.

    Raises:
        TaskSetError: it is missing, null or no text or number.
    """
    value = row.get(name)
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise TaskSetError(f"{where}: {name!r} must be text, found {value!r:.60}; the fields are {list(row)}")
    return str(value).strip()


def _find(names: dict[str, str], images: Path | None) -> dict[str, str | None]:
    """Each name (with the place that names it) to its image."""
    relative = {name: where for name, where in names.items() if not os.path.isabs(name)}
    if relative and images is None:
        name, where = next(iter(relative.items()))
        raise TaskSetError(f"{where}: image {name!r} is a file; the image folder is needed to find it")
    index = index_images(images, {name.count("/") + 1 for name in relative}) if relative else {}
    return {
        name: locate(Label(where, name, name, ""), index)
        if name in relative
        else (name if os.path.isfile(name) else None)
        for name, where in names.items()
    }


def _together(groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """Each name to the first by name of those that are linked to it by groups (union-find)."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = name = parent[parent[name]]
        return name

    for group in groups:
        for name in group:
            low, high = sorted((root(group[0]), root(name)))
            parent[high] = low
    return {name: root(name) for name in parent}


def _short(path: str, images: Path | None) -> str:
    """A name of an image that does not change when the sets are moved."""
    root = os.path.abspath(images) + os.sep if images else ""
    return path.removeprefix(root) if root and path.startswith(root) else os.path.basename(path)
