"""RSNA Pneumonia Detection Challenge 2018: where radiologists marked lung opacities that may be pneumonia.

Shih G. et al., Augmenting the NIH Chest Radiograph Dataset with Expert Annotations of Possible Pneumonia, Radiology:
Artificial Intelligence 2019. The files are those of Kaggle's page (Data) of the competition:
stage_2_train_labels.csv has a row for each box (`patientId`, x, y, width, height in pixels of the 1024 × 1024 films,
Target), stage_2_detailed_class_info.csv the class of each film. A `patientId` is a film, not a patient; the films are
NIH's, and pneumonia-challenge-dataset-mappings_2018.json says which.

What the labels mean here: Target 1 is "Lung Opacity". Only class "Normal" says that there is no other finding either.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from curriculum.importers.importer import CLUSTER, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.film_files import FILMS, FilmFile, find_films
from curriculum.importers.parts.films import import_films
from curriculum.importers.parts.label import OTHERS, Box, Label, read_number
from curriculum.importers.parts.ready_questions import read_json
from curriculum.taskset import TaskSetError

if TYPE_CHECKING:
    from curriculum.sets.mapped import Spread

FINDING = "Lung Opacity"
SIZE = (1024, 1024)
CLASSES = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
PROVENANCE: dict[str, object] = {
    "source": "rsna-pneumonia",
    "licence": "RSNA challenge terms of use: non-commercial research and education",
    "attribution": "RSNA and STR / Shih et al., Radiology: Artificial Intelligence 2019; films: NIH Clinical Center",
}


def import_rsna(
    images: Path,
    labels: Path,
    out: Path,
    classes: Path | None = None,
    mappings: Path | None = None,
    seed: int = 0,
    cluster: Spread = map,
) -> ImportSummary:
    """Writes `out`/tasks.parquet: is there an opacity, and where.

    Args:
        images: folder with the films (stage_2_train_images), DICOM, PNG or JPEG, at any depth.
        labels: stage_2_train_labels.csv.
        out: folder for the task set, and for PNG files of DICOM films.
        classes: stage_2_detailed_class_info.csv, which tells normal films from others.
        mappings: pneumonia-challenge-dataset-mappings_2018.json, which gives NIH's patients; with None, each film
            counts as a patient.
        seed: of the questions and the splits.
        cluster: who reads the films.

    Raises:
        TaskSetError: a file cannot be used; see also `film_files.find_films` and `films.import_films`.
    """
    skipped = Skipped()
    boxes, names = _read_boxes(labels)
    normal = _read_normal(classes) if classes else set()
    patients = _read_patients(mappings) if mappings else {}
    films = find_films(images, names, labels, out, skipped, cluster)
    found = ((name, film, names[name]) for name, film in films.items())
    rows = (_label(name, film, where, boxes[name], normal, patients) for name, film, where in found)
    return import_films(rows, images, labels, out, (FINDING,), seed, skipped)


def _label(
    name: str, film: FilmFile, where: str, boxes: list[Box], normal: set[str], patients: dict[str, str]
) -> Label:
    return Label(
        where,
        id=name,
        file=film.file,
        patient=patients.get(name, name),
        findings=(FINDING,) if boxes else (),
        unsure=() if name in normal else (OTHERS,),
        denied=() if boxes else (FINDING,),
        provenance=film.strata | PROVENANCE,
        boxes=tuple(boxes),
        size=SIZE,
    )


def _read_boxes(path: Path) -> tuple[dict[str, list[Box]], dict[str, str]]:
    """Film to its boxes, and film to where it is named."""
    boxes: dict[str, list[Box]] = {}
    names: dict[str, str] = {}
    columns = ("patientId", "x", "y", "width", "height", "Target")
    for place, row in read_csv(path, columns, "RSNA's stage_2_train_labels.csv"):
        where = f"{place}, image {row['patientId']!r}"
        if not row["patientId"] or row["Target"] not in ("0", "1"):
            raise TaskSetError(f"{where}: Target is {row['Target']!r}; a film's name and Target 0 or 1 are needed")
        names.setdefault(row["patientId"], where)
        of_film = boxes.setdefault(row["patientId"], [])
        if row["Target"] == "1":
            x, y, width, height = (read_number(where, name, row[name]) for name in columns[1:5])
            of_film.append((FINDING, x, y, x + width, y + height))
    return boxes, names


def _read_normal(path: Path) -> set[str]:
    """The films of class Normal."""
    normal = set()
    for place, row in read_csv(path, ("patientId", "class"), "RSNA's stage_2_detailed_class_info.csv"):
        if row["class"] not in CLASSES:
            raise TaskSetError(f"{place}: class {row['class']!r:.60} is none of {', '.join(CLASSES)}")
        if row["class"] == CLASSES[0]:
            normal.add(row["patientId"])
    return normal


def _read_patients(path: Path) -> dict[str, str]:
    """Film to the patient of the NIH film that it is, such as 00001256 of 00001256_003.png."""
    patients = {}
    for number, row in enumerate(read_json(path)):
        film, nih = row.get("subset_img_id"), row.get("img_id")
        if not isinstance(film, str) or not isinstance(nih, str):
            raise TaskSetError(f"{path}: row {number} (0-based) has no subset_img_id and img_id; RSNA's has both")
        patients[film] = f"nih-{nih.partition('_')[0]}"
    return patients


RSNA = Importer(
    "rsna",
    "RSNA pneumonia challenge: is there a lung opacity, and where.",
    (
        FILMS,
        Option("labels", "stage_2_train_labels.csv", "path"),
        OUT,
        Option("classes", "stage_2_detailed_class_info.csv", "path", required=False),
        Option("mappings", "pneumonia-challenge-dataset-mappings_2018.json, for patients", "path", required=False),
        SEED,
        CLUSTER,
    ),
    import_rsna,
)
