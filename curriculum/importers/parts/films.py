"""What all importers of labelled films share: find the images, split by patient, write the tasks.

A layout's module reads its own files into `Label`s; `import_films` does the rest.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from curriculum.importers.importer import ImportSummary
from curriculum.importers.parts.film_questions import film_questions, unit
from curriculum.importers.parts.label import Label
from curriculum.missing import valid_text
from curriculum.questions import LabelledFilm
from curriculum.task import Split
from curriculum.taskset import FILE_NAME, TaskSetError, write_tasks

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_ABSOLUTE = re.compile(r"\s*(?:[A-Za-z]:[\\/]|[\\/])")


def import_films(
    labels: Iterable[Label],
    images: Path,
    label_file: Path,
    out: Path,
    vocabulary: Sequence[str],
    seed: int = 0,
    skipped: Counter[str] | None = None,
    uncertain: bool = False,
) -> ImportSummary:
    """Writes `out`/tasks.parquet: every question that is answered by what is known of each film (see `questions`).

    Images are found anywhere below `images` by `Label.file`; they are neither opened nor copied. Splits that the set
    gives are kept; a set without val gives an eighth of its train patients to val. If it gives none, patients are split
    70/10/20 by a seeded hash, so a patient's split does not depend on which films are present.

    Args:
        labels: what the label file says, one for each image.
        images: folder with the films, at any depth.
        label_file: where the labels come from, for messages.
        out: folder for the task set.
        vocabulary: the findings that were looked for.
        seed: of the questions and the splits.
        skipped: rows that the reader left out, by reason; they go into the summary.
        uncertain: whether questions are asked whose right answer is that a finding is uncertain.

    Returns:
        What was written, and what was left out.

    Raises:
        TaskSetError: an image has two rows, a patient is in two splits, two images below `images` have the same name,
            or none of the images is there.
    """
    first: dict[str, Label] = {}
    for label in labels:
        if first.setdefault(label.id, label) is not label:
            raise TaskSetError(f"{label.where}: this image has a row already; one row per image")
    ends = path_ends([label.file for label in first.values()])
    suffixes = {*IMAGE_SUFFIXES, *(os.path.splitext(path_key(end))[1].lower() for end in ends)} - {""}
    index = index_images(images, {path_key(end).count("/") + 1 for end in ends}, sorted(suffixes))
    located = [(label, _locate(label, end, index)) for label, end in zip(first.values(), ends, strict=True)]
    present = [(label, path) for label, path in located if path]
    if not present:
        example = next(iter(first.values())).file if first else "unknown, no film is labelled"
        raise TaskSetError(
            f"{images}: none of the {len(first)} images of {label_file} is below this folder; "
            f"the first would be {example}"
        )
    splits, splits_from = split_patients([label for label, _ in present], label_file, seed)
    films = [(label, _film(label, path, splits[label.patient])) for label, path in present]
    summary = ImportSummary(
        out / FILE_NAME,
        splits_from,
        len(films),
        sum(label.findings is None for label, _ in films),
        missing=[label.file for label, path in located if not path],
        skipped=skipped if skipped is not None else Counter(),
    )
    write_tasks(summary.counted(film_questions(films, vocabulary, seed, uncertain)), out)
    return summary


def index_images(
    images: Path, depths: Collection[int] = (1,), suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> dict[str, list[str]]:
    """Finds the images below a folder by the ends of their paths.

    Args:
        images: the folder.
        depths: how many of the last parts of a path make a key, such as 2 for "study1/view1.jpg".
        suffixes: of the files to find.

    Returns:
        The last parts of a path, joined by "/", to all images whose paths end so.
    """
    index: dict[str, list[str]] = {}
    for folder, subfolders, names in os.walk(os.path.abspath(images)):
        subfolders.sort()
        for name in names:
            if name.lower().endswith(tuple(suffixes)):
                path = os.path.join(folder, name)
                parts = path.replace("\\", "/").split("/")
                for depth in depths:
                    index.setdefault(unicodedata.normalize("NFC", "/".join(parts[-depth:])), []).append(path)
    return index


def path_key(name: str) -> str:
    """The end of an image's path as the index has it: "/" between its parts, without ./, ../ and blanks at its ends."""
    parts = name.strip().replace("\\", "/").split("/")
    return unicodedata.normalize("NFC", "/".join(part for part in parts if part not in ("", ".", "..")))


def locate(label: Label, index: dict[str, list[str]]) -> str | None:
    """The image whose path is, or ends with, the label's `file`; None if there is none.

    Raises:
        TaskSetError: the paths of two images end so.
    """
    if os.path.isabs(label.file) and os.path.isfile(label.file):
        return label.file
    key = path_key(label.file)
    paths = index.get(key, [])
    if not paths:  # the ending may be in capitals
        stem, dot, ending = key.rpartition(".")
        paths = index.get(stem + dot + ending.upper(), []) or index.get(stem + dot + ending.lower(), [])
    if len(paths) > 1:
        raise TaskSetError(
            f"{label.where}: two images have this name, {paths[0]} and {paths[1]}; "
            "only one of them may be below the image folder"
        )
    if paths and valid_text(paths[0]) != paths[0]:
        raise TaskSetError(f"{label.where}: the path {paths[0]!a} has bytes that are no UTF-8; rename it")
    return paths[0] if paths else None


def _locate(label: Label, end: str, index: dict[str, list[str]]) -> str | None:
    """The image of a label by the end of its path, which may lack the file's ending."""
    for ending in ("", *IMAGE_SUFFIXES):
        if path := locate(replace(label, file=end + ending), index):
            return path
    return None


def path_ends(files: Sequence[str]) -> list[str]:
    """The ends of paths by which images are found.

    Absolute paths of another machine, such as C:\\films\\p1\\a.png, lose the folders that all of them begin with.
    """
    foreign = {file: path_key(file) for file in files if _ABSOLUTE.match(file) and not os.path.isfile(file)}
    shared = os.path.commonpath([os.path.dirname(key) for key in foreign.values()]) if foreign else ""
    return [foreign[file][len(shared) :].lstrip("/") if file in foreign else file for file in files]


def split_patients(labels: Sequence[Label], label_file: Path, seed: int) -> tuple[dict[str, Split], str]:
    """The split of every patient, and in words where the splits come from.

    Raises:
        TaskSetError: a patient is in two splits, a split is unknown, or only some films have one.
    """
    given: dict[str, str] = {}
    for label in labels:
        if label.split and label.split not in get_args(Split):
            raise TaskSetError(f"{label.where}: split {label.split!r} must be one of {', '.join(get_args(Split))}")
        if given.setdefault(label.patient, label.split) != label.split:
            raise TaskSetError(
                f"{label.where}: patient {label.patient!r} is in split {label.split!r} here and in "
                f"{given[label.patient]!r} above; a patient must be in one split only"
            )
    if not any(given.values()):
        drawn = {patient: _split_of_share(unit(f"{seed}:{patient}"), 0.7, 0.8) for patient in given}
        return drawn, f"by patient, 70/10/20, seed {seed}"
    if "" in given.values():
        raise TaskSetError(f"{label_file}: the split is empty for some films; fill it for all or for none")
    splits = cast("dict[str, Split]", given)
    if "val" in splits.values():
        return splits, f"given by {label_file.name}"
    for patient, split in splits.items():
        if split == "train":
            splits[patient] = _split_of_share(unit(f"{seed}:{patient}"), 7 / 8, 1)
    return splits, f"given by {label_file.name}; val taken from train, by patient, seed {seed}"


def _film(label: Label, path: str, split: Split) -> LabelledFilm:
    report = "\n\n".join(f"{name.upper()}: {text}" for name, text in label.sections.items())
    return LabelledFilm(
        label.id,
        path,
        label.findings or (),
        split,
        label.patient,
        {**label.provenance, "report": report},
        unsure=label.unsure,
        denied=label.denied,
        unasked=label.unasked,
    )


def _split_of_share(share: float, train_below: float, val_below: float) -> Split:
    if share < train_below:
        return "train"
    return "val" if share < val_below else "test"
