"""What importers of ready questions share: read the rows, find the images, choose the splits, write the tasks."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from curriculum.importers.importer import ImportSummary, skip_lines
from curriculum.importers.parts.answers import Unreadable, unfold_list
from curriculum.importers.parts.films import index_images, locate, path_ends, path_key, split_patients
from curriculum.importers.parts.label import Label
from curriculum.missing import is_missing, says_nothing, valid_texts
from curriculum.strict import fault_text
from curriculum.task import Task
from curriculum.taskset import FILE_NAME, TaskSetError, read_rows, write_tasks

_BLANK = " \t\r\n\f\v\0\ufeff"
_ROWS_AT_ONCE = 64  # rows of Parquet files hold whole images
_KINDS = {list: "a list", dict: "an object"}
_PATIENT = "\0patient "  # sorts before all images, so that a patient names its group

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class ReadyQuestion:
    """A question that a set ships.

    Attributes:
        where: file and row, for messages.
        task: its `images` are as the set writes them; its split and patient are not used.
        split: train, val or test; empty if the set does not give one.
        patient: whose images they are; empty if the set does not say.
    """

    where: str
    task: Task
    split: str = ""
    patient: str = ""


def import_questions(
    questions: Iterable[ReadyQuestion],
    images: Path | None,
    question_file: Path,
    out: Path,
    seed: int,
    skipped: Counter[str],
) -> ImportSummary:
    """Writes `out`/tasks.parquet with the questions whose images are there.

    An image is named by an absolute path, or by the end of its path below `images` (see `films.path_ends`).
    Questions that share an image or a patient, directly or through others, have one split; if the set does not name
    patients, they count as one. Splits that the set gives are kept, by the rules of `films.split_patients`.

    Args:
        questions: what the set asks.
        images: folder with the images, at any depth; None if the questions name absolute paths.
        question_file: the file or folder of the questions, for messages.
        out: folder for the task set.
        seed: of the splits.
        skipped: rows that the reader left out, by reason; it is filled while `questions` are read.

    Returns:
        What was written, and what was left out.

    Raises:
        TaskSetError: an image is in two splits, two images below `images` have the same name, none of the images is
            there, or `images` is needed and None.
    """
    questions = list(questions)
    names: dict[str, str] = {}
    for question in questions:
        names.update(dict.fromkeys(question.task.images, question.where))
    paths, missing = _find(names, images)
    present = [question for question in questions if all(name in paths for name in question.task.images)]
    if not present:
        fault = f"no image is there, the first would be {missing[0]}" if missing else "no question could be read"
        reasons = "".join(f"; skipped {line}" for line in skip_lines(skipped, "questions"))
        raise TaskSetError(f"{question_file}: {fault}{reasons}")
    if len(questions) > len(present):
        skipped["without their image file"] += len(questions) - len(present)
    labels = _labels(present, paths, images)
    splits, splits_from = split_patients(labels, question_file, seed)
    tasks = []
    for question, label in zip(present, labels, strict=True):
        located = tuple(paths[name] for name in question.task.images)
        changes = {"images": located, "patient": label.patient, "split": splits[label.patient]}
        tasks.append(question.task.model_copy(update=changes))
    films = {image for task in tasks for image in task.images}
    summary = ImportSummary(
        out / FILE_NAME, splits_from, len(films), missing=missing, skipped=skipped, rows="questions"
    )
    write_tasks(summary.counted(tasks), out)
    return summary


def files_of(path: Path, suffixes: Sequence[str]) -> list[Path]:
    """The file itself, or the files of a folder that have one of the suffixes, by name.

    Raises:
        TaskSetError: there is none.
    """
    kinds = " or ".join(suffixes)
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
    for file in files:
        if file.suffix.lower() not in suffixes or not file.is_file():
            raise TaskSetError(f"{file}: a {kinds} file, or a folder of such files, is needed here")
    if not files:
        raise TaskSetError(f"{path}: no {kinds} file is in this folder")
    return files


def read_split(given: object, path: Path, where: str) -> str:
    """The split that a row gives, or that its file's name implies ("slake_test", "train-00000-of-00001"); else "".

    Raises:
        TaskSetError: the row gives something that is not a split.
    """
    words = re.split(r"[^a-z]+", str(given or path.stem).lower())
    splits = {_SPLIT_NAMES[word] for word in words if word in _SPLIT_NAMES}
    if given and len(splits) != 1:
        raise TaskSetError(f"{where}: split {given!r:.40} must be train, val or test")
    return splits.pop() if len(splits) == 1 else ""


def read_json(path: Path, key: str = "") -> Iterator[dict[str, Any]]:
    """The objects of a .json file that holds a list, or of a .jsonl file. Their texts are valid Unicode (`valid_text`).

    Args:
        path: the file.
        key: if it is given, the file holds an object of objects; each gets its name there in this field.

    Raises:
        TaskSetError: there is no such file, it is not JSON in UTF-8, or it holds something other than objects.
    """
    lines = path.suffix.lower() == ".jsonl"
    kind = dict if key else list
    needed = "an object a line is needed" if lines else f"{_KINDS[kind]} of objects is needed"
    number = -1
    try:
        with open(path, encoding="utf-8-sig") as file:
            rows = (json.loads(line) for line in file if line.strip(_BLANK)) if lines else json.load(file)
            if not lines and not isinstance(rows, kind):
                raise TaskSetError(f"{path}: it holds {rows!r:.40}; {needed}")
            if isinstance(rows, dict):
                rows = ({**row, key: name} if isinstance(row, dict) else row for name, row in rows.items())
            for number, row in enumerate(rows):
                if not isinstance(row, dict):
                    raise TaskSetError(f"{path}: row {number} (0-based) is {row!r:.40}; {needed}")
                yield valid_texts(row)
    except UnicodeDecodeError as error:
        where = f"near row {number + 1} (0-based) " if lines else ""
        fault = f"{where}it is not UTF-8 ({error.reason}): save it as UTF-8"
        raise TaskSetError(f"{path}: not a readable JSON file; {needed}; {fault}") from error
    except TaskSetError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        where = f"row {number + 1} (0-based): " if lines else ""
        raise TaskSetError(f"{path}: not a readable JSON file; {needed} ({where}{error})") from error


def read_table(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a .jsonl, .json or .parquet file; see `read_json`."""
    if path.suffix.lower() != ".parquet":
        return read_json(path)
    return (valid_texts(row) for row in read_rows(path, (), at_once=_ROWS_AT_ONCE))


def text_of(row: dict[str, Any], name: str, where: str) -> str:
    """A field as text, stripped; "" if it is null, nan, or holds nothing but marks of what was taken out.

    Raises:
        TaskSetError: there is no such field, or it is neither text nor a number.
    """
    value = row.get(name)
    if name in row and is_missing(value):
        return ""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise TaskSetError(f"{where}: {name!r} must be text, found {value!r:.60}; the fields are {list(row)}")
    text = str(value).strip()
    return "" if says_nothing(text) else text


def answer_of(row: dict[str, Any], name: str, where: str) -> str:
    """An answer as text; the items of a list, also of one that is written as text, have commas between them.

    Raises:
        Unreadable: it is missing, or a list of something other than texts.
        TaskSetError: as `text_of`.
    """
    value = row.get(name)
    if isinstance(value, list) and all(item is None or isinstance(item, str | float) for item in value):
        value = [str(item) for item in value if not is_missing(item)]
        answer = ", ".join(value)
    else:
        answer = unfold_list(text_of(row, name, where))
    if not answer.strip():
        raise Unreadable("without an answer")
    return answer


def make_task(**fields: Any) -> Task:
    """The task with these fields.

    Raises:
        Unreadable: they make no valid task.
    """
    try:
        return Task(**fields)
    except ValidationError as error:
        raise Unreadable(f"that make no valid task: {fault_text(error.errors()[0])}") from error


def _find(names: dict[str, str], images: Path | None) -> tuple[dict[str, str], list[str]]:
    """The paths of the images that are there by name, and the names of the others.

    Args:
        names: each image's name, and where it is named.
        images: the folder below which relative names are looked for.
    """
    ends = dict(zip(names, path_ends(list(names)), strict=True))
    index: dict[str, list[str]] = {}
    if images is not None:
        index = index_images(images, {path_key(end).count("/") + 1 for end in ends.values()})
    elif relative := [name for name in names if not os.path.isabs(name)]:
        raise TaskSetError(
            f"{names[relative[0]]}: image {relative[0]!r} is a file; the image folder is needed to find it"
        )
    paths: dict[str, str] = {}
    missing: list[str] = []
    for name, where in names.items():
        path = locate(Label(where, name, ends[name], ""), index)
        if path:
            paths[name] = path
        else:
            missing.append(name)
    return paths, missing


def _labels(questions: Sequence[ReadyQuestion], paths: dict[str, str], images: Path | None) -> list[Label]:
    """What `split_patients` needs of each question: its split, and as its patient the images that it is linked to."""
    first_of = _link([_linked(question) for question in questions])
    labels = []
    for question in questions:
        first = first_of[_linked(question)[0]]
        patient = first.removeprefix(_PATIENT) if first.startswith(_PATIENT) else _short(paths[first], images)
        labels.append(Label(question.where, question.task.id, question.task.images[0], patient, split=question.split))
    return labels


def _linked(question: ReadyQuestion) -> tuple[str, ...]:
    """What other questions may share with this one: its patient, if known, and its images."""
    patient = (_PATIENT + question.patient,) if question.patient else ()
    return *patient, *question.task.images


def _link(groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """Each name to the first in order of those that groups link it to, directly or through others (union-find)."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for group in groups:
        for name in group:
            low, high = sorted((root(group[0]), root(name)))
            parent[high] = low
    return {name: root(name) for name in parent}


def _short(path: str, images: Path | None) -> str:
    """A name of an image that does not change when the sets are moved."""
    if images:
        root = os.path.abspath(images) + os.sep
        if path.startswith(root):
            return path.removeprefix(root)
    return os.path.basename(path)
