"""Imports the user's own copy of NIH ChestX-ray14 (or a set labelled like it) as a task set.

Wang X. et al., ChestX-ray8, CVPR 2017, https://nihcc.app.box.com/v/ChestXray-NIHCC. Its labels were text-mined from
reports (over 90 % right, by the authors' estimate), so a finding without a label counts as absent.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from .questions import Film, QuestionWriter
from .task import NO_FINDING, OPTION_LETTERS, Split, Task
from .taskset import FILE_NAME, TaskSetError, read_rows, write_tasks

FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
            "Infiltration", "Mass", "Nodule", "Pleural Thickening", "Pneumonia", "Pneumothorax")
PROVENANCE = {"source": "nih-chestxray14", "licence": "NIH Clinical Center: no restrictions, attribution requested",
              "attribution": "NIH Clinical Center / Wang et al., ChestX-ray8, CVPR 2017"}
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_CSV_COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
_PARQUET_COLUMNS = ("image_id", "file", "labels", "no_finding", "patient_id")
_NAMES_SHOWN = 5


@dataclass
class ImportSummary:
    """What an import made of a set: counts of films, and of tasks by (domain, family, split)."""

    path: Path
    splits_from: str
    films: int = 0
    tasks: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)  # image files that were not found
    unlabelled: int = 0  # films whose NIH findings are not known

    def lines(self) -> list[str]:
        """The summary for a terminal."""
        lines = [f"{self.films} films, {self.tasks.total()} tasks → {self.path}", f"splits: {self.splits_from}"]
        for domain, family in sorted({key[:2] for key in self.tasks}):
            counts = ", ".join(f"{split} {self.tasks[domain, family, split]}" for split in get_args(Split))
            lines.append(f"{domain} {family}: {counts}")
        if self.missing:
            names = ", ".join(self.missing[:_NAMES_SHOWN]) + (", …" if len(self.missing) > _NAMES_SHOWN else "")
            lines.append(f"skipped {len(self.missing)} films without their image file: {names}")
        if self.unlabelled:
            lines.append(f"skipped {self.unlabelled} films that were not labelled for the NIH findings")
        return lines


@dataclass(frozen=True)
class _Label:
    """A row of the label file, and where it stands in it. `split` is empty where the set has none."""

    where: str
    id: str
    file: str
    findings: tuple[str, ...]
    patient: str
    split: str
    provenance: dict[str, str]


def import_nih(images: Path, labels: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet: a binary, a single-choice, a multiple-choice, a diagnosis and a report task on every film.

    Images are found by file name anywhere below `images`, neither opened nor copied. The labels' own `split` column
    is kept where there is one; a set without val gives an eighth of its train patients to val; without the column,
    patients are split 70/10/20 by a seeded hash, so a patient's split does not depend on which films are at hand.

    Args:
        labels: NIH's Data_Entry_2017.csv, or a Parquet file with image_id, file, labels, no_finding, patient_id
            (and split, view, source, license, attribution where known). A null no_finding marks a film that was
            not labelled for the NIH findings; it is skipped.

    Raises:
        TaskSetError: the label file cannot be used, its splits share a patient, an image name is not unique below
            `images`, or none of the images is there.
    """
    rows = list(_read_csv(labels) if labels.suffix.lower() == ".csv" else _read_parquet(labels))
    known = [row for row in rows if row is not None]
    first: dict[str, _Label] = {}
    for row in known:
        if first.setdefault(row.id, row) is not row:
            raise TaskSetError(f"{row.where}: this image has a row already; one row per image")
    index = _index(images)
    located = [(row, _locate(row, index)) for row in known]
    present = [(row, path) for row, path in located if path]
    if not present:
        raise TaskSetError(f"{images}: none of the {len(known)} images of {labels} is below this folder; "
                           f"the first would be {known[0].file if known else 'unknown, no film is labelled'}")
    splits, splits_from = _split_patients([row for row, _ in present], labels, seed)
    films = [Film(row.id, path, row.findings, splits[row.patient], row.patient, row.provenance) for row, path in present]
    summary = ImportSummary(out / FILE_NAME, splits_from, len(films), unlabelled=len(rows) - len(known),
                            missing=[row.file for row, path in located if not path])

    def counted() -> Iterator[Task]:
        for task in _write_questions(films, seed):
            summary.tasks[task.domain, task.family, task.split] += 1
            yield task

    write_tasks(counted(), out)
    return summary


def describe(finding: str, present: bool, rng: np.random.Generator) -> str:
    """The think sentence of a gold trace: the label in words, since no more is known of the film."""
    if finding == NO_FINDING:
        return "Nothing is seen." if present else "Something is seen."
    return f"{finding} is seen." if present else f"{finding} is not seen."


def _write_questions(films: list[Film], seed: int) -> Iterator[Task]:
    seen = Counter(finding for film in films if film.split == "train" for finding in film.findings)
    # One more of each: a finding that no train film shows must still be offered as a wrong option.
    healthy = sum(not film.findings for film in films) / max(1, len(films))
    writer = QuestionWriter({finding: seen[finding] + 1 for finding in FINDINGS}, healthy, describe)
    for film in films:
        rng = np.random.default_rng([seed, int(_unit(film.id) * 2**48)])
        most = min(len(OPTION_LETTERS), len(FINDINGS) - len(film.findings) + 1)
        few, many = (min(int(rng.choice([4, 5, 6, 7], p=[0.7, 0.1, 0.1, 0.1])), most) for _ in range(2))
        yield writer.binary(film, rng)
        yield writer.single_choice(film, rng, few)
        yield writer.multiple_choice(film, rng, many)
        yield writer.diagnosis(film, rng)
        yield writer.report(film, rng)


def _read_csv(path: Path) -> Iterator[_Label | None]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            if missing := [name for name in _CSV_COLUMNS if name not in columns]:
                raise TaskSetError(f"{path}: column {missing[0]!r} is missing; found {list(columns)}")
            for number, row in enumerate(reader):
                image = row["Image Index"] or ""
                where = f"{path}: row {number} (0-based, without the header), image {image!r}"
                names = [name.strip() for name in (row["Finding Labels"] or "").split("|")]
                healthy = names == ["No Finding"]
                yield _label(where, os.path.splitext(image)[0], image, [] if healthy else names, healthy,
                             row["Patient ID"], row.get("split"), PROVENANCE | {"view": row.get("View Position") or ""})
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TaskSetError(f"{path}: not a readable CSV file; NIH's is Data_Entry_2017.csv ({error})") from error


def _read_parquet(path: Path) -> Iterator[_Label | None]:
    for number, row in enumerate(read_rows(path, _PARQUET_COLUMNS)):
        if row["no_finding"] is None:
            yield None
            continue
        where = f"{path}: row {number} (0-based), image {row['image_id']!r}"
        provenance = {name: row.get(column) or PROVENANCE.get(name, "") for name, column in
                      [("source", "source"), ("licence", "license"), ("attribution", "attribution"), ("view", "view")]}
        yield _label(where, row["image_id"], row["file"], row["labels"] or [], row["no_finding"],
                     row["patient_id"], row.get("split"), provenance)


def _label(where: str, id: object, file: object, labels: object, healthy: bool, patient: object, split: str | None,
           provenance: dict[str, str]) -> _Label:
    if not isinstance(labels, list):
        raise TaskSetError(f"{where}: labels must be a list of names, found {labels!r:.80}")
    findings = tuple(str(name).replace("_", " ") for name in labels)
    if not id or not file or patient in (None, ""):
        raise TaskSetError(f"{where}: the image or its patient has no name; both are needed")
    if stray := [name for name in findings if name not in FINDINGS]:
        raise TaskSetError(f"{where}: {stray[0]!r} is no NIH finding; they are No Finding or {', '.join(FINDINGS)}")
    if healthy == bool(findings) or len(set(findings)) < len(findings) or len(findings) == len(FINDINGS):
        raise TaskSetError(f"{where}: labels {list(findings)} with no-finding {healthy}; "
                           "a film has either no finding or some of them, each once")
    if split and split not in get_args(Split):
        raise TaskSetError(f"{where}: split {split!r} must be one of {', '.join(get_args(Split))}")
    return _Label(where, str(id), str(file), findings, str(patient), split or "", provenance)


def _index(images: Path) -> dict[str, list[str]]:
    """File name to the images of that name."""
    index: dict[str, list[str]] = {}
    for folder, subfolders, names in os.walk(os.path.abspath(images)):
        subfolders.sort()
        for name in names:
            if name.lower().endswith(IMAGE_SUFFIXES):
                index.setdefault(name, []).append(os.path.join(folder, name))
    return index


def _locate(row: _Label, index: dict[str, list[str]]) -> str | None:
    found = index.get(os.path.basename(row.file), [])
    found = [path for path in found if path.endswith(os.sep + row.file)] or found
    if len(found) > 1:
        raise TaskSetError(f"{row.where}: two images have this name, {found[0]} and {found[1]}; "
                           "only one of them may be below the image folder")
    return found[0] if found else None


def _split_patients(rows: list[_Label], labels: Path, seed: int) -> tuple[dict[str, Split], str]:
    """The split of every patient, and where the splits come from."""
    given: dict[str, str] = {}
    for row in rows:
        if given.setdefault(row.patient, row.split) != row.split:
            raise TaskSetError(f"{row.where}: patient {row.patient!r} is in split {row.split!r} here and in "
                               f"{given[row.patient]!r} above; a patient must be in one split only")
    if not any(given.values()):
        return {p: _by_share(_unit(f"{seed}:{p}"), 0.7, 0.8) for p in given}, f"by patient, 70/10/20, seed {seed}"
    if "" in given.values():
        raise TaskSetError(f"{labels}: column 'split' is empty for some films; fill it for all or for none")
    if "val" in given.values():
        return given, f"column 'split' of {labels.name}"
    carved = {p: _by_share(_unit(f"{seed}:{p}"), 7 / 8, 1) if s == "train" else s for p, s in given.items()}
    return carved, f"column 'split' of {labels.name}; val taken from train, by patient, seed {seed}"


def _by_share(unit: float, train_below: float, val_below: float) -> Split:
    return "train" if unit < train_below else "val" if unit < val_below else "test"


def _unit(text: str) -> float:
    """A number in [0, 1) that depends on the text only (Python's own hash changes with every process)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
