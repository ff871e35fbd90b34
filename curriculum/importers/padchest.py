"""PadChest, whose labels are the names of findings and diagnoses that its own file holds.

Bustos A. et al., PadChest, Medical Image Analysis 2020, https://bimcv.cipf.es/bimcv-projects/padchest/. A quarter of the
reports were labelled by physicians, the others by a network that learnt from them; a name that is not listed counts as
absent. The reports are Spanish word stems, and are not used.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from curriculum.importers.files import read_csv
from curriculum.importers.films import ImportSummary, Label, import_films, read_age
from curriculum.taskset import TaskSetError

PROVENANCE = {
    "source": "padchest",
    "licence": "PadChest Dataset Research Use Agreement: research only",
    "attribution": "BIMCV / Bustos et al., PadChest, Medical Image Analysis 2020",
}
NORMAL = "normal"
_LEFT_OUT = {
    "exclude": "that PadChest marks 'exclude': their report does not describe them",
    "suboptimal study": "that PadChest marks 'suboptimal study': what they do not show may be there",
    "unchanged": "that PadChest marks 'unchanged': what an earlier report listed is not listed again",
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

    Raises:
        TaskSetError: the label file cannot be used; see also `films.import_films`.
    """
    skipped: Counter[str] = Counter()
    rows = list(_read(labels, skipped))
    vocabulary = sorted({name for row in rows for name in row.findings})
    return import_films(rows, images, labels, out, vocabulary, seed, skipped)


def _read(path: Path, skipped: Counter[str]) -> Iterator[Label]:
    for place, row in read_csv(path, _COLUMNS, "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"):
        where = f"{place}, image {row['ImageID']!r}"
        names = _names(where, row["Labels"])
        if why := _fault(names):
            skipped[why] += 1
            continue
        if not row["ImageID"] or not row["PatientID"]:
            raise TaskSetError(f"{where}: the image or its patient has no name; both are needed")
        view = _VIEWS.get(row["Projection"], "")
        date, born = row["StudyDate_DICOM"], row["PatientBirth"].removesuffix(".0")
        if len(date) != 8 or not date.isdigit():
            raise TaskSetError(f"{where}: StudyDate_DICOM is {date!r}; a date is written as 20140915")
        yield Label(
            where,
            row["ImageID"].removesuffix(".png"),
            row["ImageID"],
            row["PatientID"],
            tuple(name for name in names if name != NORMAL),
            provenance=PROVENANCE
            | {
                "view": view,
                "sex": row["PatientSex_DICOM"] if row["PatientSex_DICOM"] in ("F", "M", "O") else "",
                "age": read_age(int(date[:4]) - int(born)) if born.isdigit() else None,
            },
            order=float(date),
        )


def _names(where: str, text: str) -> list[str]:
    """The names of a list such as "['pleural effusion', ' normal']", each once; none where the cell says nan."""
    if text == "nan":
        return []
    try:
        names = ast.literal_eval(text)
        return list(dict.fromkeys(name.strip() for name in names))
    except (ValueError, SyntaxError, AttributeError, TypeError) as error:
        raise TaskSetError(f"{where}: Labels is {text!r:.80}; it is a list such as ['normal', 'kyphosis']") from error


def _fault(names: list[str]) -> str | None:
    """Why a film cannot be asked about."""
    if not names:
        return _UNLABELLED
    if NORMAL in names and len(names) > 1:
        return _CONTRADICTORY
    return next((why for name, why in _LEFT_OUT.items() if name in names), None)
