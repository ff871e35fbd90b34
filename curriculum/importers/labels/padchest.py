"""PadChest, whose labels are the names of findings and diagnoses that its own file holds.

Bustos A. et al., PadChest, Medical Image Analysis 2020, https://bimcv.cipf.es/bimcv-projects/padchest/. Physicians
labelled a quarter of the reports, and a network trained on these labelled the others; a name that is not listed counts
as absent. The reports are Spanish word stems, and are not used.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.films import import_films
from curriculum.importers.parts.label import Label, read_age
from curriculum.taskset import TaskSetError

PROVENANCE: dict[str, object] = {
    "source": "padchest",
    "licence": "PadChest Dataset Research Use Agreement: research only",
    "attribution": "BIMCV / Bustos et al., PadChest, Medical Image Analysis 2020",
}
NORMAL = "normal"
_LEFT_OUT = {
    "exclude": "that PadChest marks 'exclude': their report does not describe them",
    "suboptimal study": "that PadChest marks 'suboptimal study': a finding that they do not show may be there",
    "unchanged": "that PadChest marks 'unchanged': findings of an earlier report are not listed again",
    "": "with a label that has no name: it may be any finding",
}
_UNLABELLED = "that have no labels"
_CONTRADICTORY = "that are labelled normal and with findings"
_VIEWS = {"PA": "PA", "AP": "AP", "AP_horizontal": "AP", "L": "Lateral"}
_COLUMNS = ("ImageID", "StudyDate_DICOM", "PatientID", "PatientBirth", "PatientSex_DICOM", "Projection", "Labels")


def import_padchest(images: Path, labels: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet, with every family of question that PadChest's labels answer.

    Args:
        images: folder with the films (16-bit PNG), at any depth.
        labels: PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv, plain or .gz.
        out: folder for the task set.
        seed: of the questions and the splits.

    Raises:
        TaskSetError: the label file cannot be used; see also `films.import_films`.
    """
    skipped = Skipped()
    films = list(_read(labels, skipped))
    vocabulary: set[str] = set()
    for film in films:
        vocabulary.update(film.findings or ())
    return import_films(films, images, labels, out, sorted(vocabulary), seed, skipped)


def _read(path: Path, skipped: Skipped) -> Iterator[Label]:
    for place, row in read_csv(path, _COLUMNS, "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"):
        where = f"{place}, image {row['ImageID']!r}"
        names = _names(where, row["Labels"])
        reason = _reason_to_skip(names)
        if reason:
            skipped[reason] += 1
            continue
        if not row["ImageID"] or not row["PatientID"]:
            raise TaskSetError(f"{where}: the image or its patient has no name; both are needed")
        date, born = row["StudyDate_DICOM"], row["PatientBirth"].removesuffix(".0")
        if len(date) != 8 or not date.isdecimal():
            raise TaskSetError(f"{where}: StudyDate_DICOM is {date!r}; a date is written as 20140915")
        strata: dict[str, object] = {
            "view": _VIEWS.get(row["Projection"], ""),
            "sex": row["PatientSex_DICOM"] if row["PatientSex_DICOM"] in ("F", "M", "O") else "",
            "age": read_age(int(date[:4]) - int(born)) if born.isdecimal() else None,
        }
        yield Label(
            where,
            id=row["ImageID"].removesuffix(".png"),
            file=row["ImageID"],
            patient=row["PatientID"],
            findings=tuple(name for name in names if name != NORMAL),
            provenance=PROVENANCE | strata,
            order=float(date),
        )


def _names(where: str, text: str) -> list[str]:
    """The names of a list such as "['pleural effusion', ' normal']", each once; none if the cell is empty or nan."""
    if not text:
        return []
    try:
        names = ast.literal_eval(text)
        return list(dict.fromkeys(name.strip() for name in names))
    except (ValueError, SyntaxError, AttributeError, TypeError, RecursionError, MemoryError) as error:
        raise TaskSetError(f"{where}: Labels is {text!r:.80}; it is a list such as ['normal', 'kyphosis']") from error


def _reason_to_skip(names: list[str]) -> str | None:
    """Why nothing can be asked about a film; None if something can."""
    if not names:
        return _UNLABELLED
    if NORMAL in names and len(names) > 1:
        return _CONTRADICTORY
    return next((reason for name, reason in _LEFT_OUT.items() if name in names), None)


PADCHEST = Importer(
    "padchest",
    "PadChest: questions on its own 190 findings and diagnoses, view and progression.",
    (IMAGES, Option("labels", "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv, plain or .gz", "path"), OUT, SEED),
    import_padchest,
)
