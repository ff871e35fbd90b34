"""The films of MIMIC-CXR-JPG by its own tables, for every set that annotates them.

Johnson A. et al., MIMIC-CXR-JPG, https://physionet.org/content/mimic-cxr-jpg/: mimic-cxr-2.0.0-metadata.csv and
-split.csv. All sets on these films share their patients, so they need the same splits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curriculum.importers.importer import Option
from curriculum.importers.parts.files import read_csv
from curriculum.taskset import TaskSetError

LICENCE = "PhysioNet Credentialed Health Data License 1.5.0: credentialed users only"
TABLES = Option("tables", "folder with MIMIC-CXR-JPG's mimic-cxr-2.0.0-metadata and -split .csv(.gz)", "path")
OPTIONAL_TABLES = Option(TABLES.name, f"{TABLES.help}, for its splits and views", TABLES.kind, required=False)
VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "Lateral", "LL": "Lateral"}
_COLUMNS = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
_SPLITS = {"train": "train", "validate": "val", "test": "test"}
_PATIENT = re.compile(r"(?:^|/)(p\d{8})/")


@dataclass(frozen=True)
class MimicFilm:
    """A film of MIMIC-CXR-JPG.

    Attributes:
        where: its row in the metadata, for messages.
        id: its dicom_id; its file is named so, with .jpg.
        patient: such as p10000032.
        study: its study_id, a number as text.
        split: train, val or test.
        view: PA, AP, Lateral, or "" if it is another or unknown.
        size: width and height in pixels, as text; "" if the table does not say.
        order: orders a patient's films in time.
    """

    where: str
    id: str
    patient: str
    study: str
    split: str
    view: str
    size: tuple[str, str]
    order: float


def find_table(folder: Path, name: str) -> Path:
    """The table mimic-cxr-2.0.0-`name`.csv, plain or .gz.

    Raises:
        TaskSetError: it is not in the folder.
    """
    plain = folder / f"mimic-cxr-2.0.0-{name}.csv"
    for path in (plain, folder / f"{plain.name}.gz"):
        if path.is_file():
            return path
    raise TaskSetError(f"{plain}: no such file, nor with .gz; MIMIC-CXR-JPG has it")


def read_mimic_films(tables: Path) -> Iterator[MimicFilm]:
    """The films that the metadata list.

    Args:
        tables: folder with mimic-cxr-2.0.0-metadata.csv and -split.csv, plain or .gz.

    Raises:
        TaskSetError: a table is missing or cannot be used, or a film has no split or no date.
    """
    metadata, splits = find_table(tables, "metadata"), find_table(tables, "split")
    split_of = {
        row["dicom_id"]: row["split"]
        for _, row in read_csv(splits, ("dicom_id", "split"), "MIMIC-CXR-JPG's table of splits")
    }
    for place, row in read_csv(metadata, _COLUMNS, "MIMIC-CXR-JPG's metadata"):
        film = row["dicom_id"]
        where = f"{place}, image {film!r}"
        if split_of.get(film) not in _SPLITS:
            raise TaskSetError(
                f"{where}: its split in {splits} is {split_of.get(film)!r}; it is one of {', '.join(_SPLITS)}"
            )
        yield MimicFilm(
            where,
            film,
            patient=f"p{row['subject_id']}",
            study=row["study_id"],
            split=_SPLITS[split_of[film]],
            view=VIEWS.get(row["ViewPosition"], ""),
            size=(row.get("Columns", ""), row.get("Rows", "")),
            order=_order(where, row),
        )


def films_by_id(tables: Path | None) -> dict[str, MimicFilm]:
    """The films by their dicom_id; none without tables."""
    return {} if tables is None else {film.id: film for film in read_mimic_films(tables)}


def frontal_films(tables: Path) -> dict[str, list[MimicFilm]]:
    """study_id to its frontal films."""
    studies: dict[str, list[MimicFilm]] = {}
    for film in read_mimic_films(tables):
        if film.view in ("PA", "AP"):
            studies.setdefault(film.study, []).append(film)
    return studies


def patient_of_path(path: str) -> str:
    """The patient in a path such as files/p10/p10000032/s50414267/x.jpg; "" if it names none."""
    match = _PATIENT.search(path)
    return match[1] if match else ""


def _order(where: str, row: dict[str, str]) -> float:
    try:
        return float(row["StudyDate"]) + float(row["StudyTime"]) / 1e6  # YYYYMMDD and HHMMSS
    except ValueError as error:
        raise TaskSetError(
            f"{where}: StudyDate {row['StudyDate']!r} and StudyTime {row['StudyTime']!r} must be "
            "numbers, as 21800506 and 213014.531"
        ) from error
