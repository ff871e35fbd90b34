"""NIH ChestX-ray14, or a set labelled like it.

Wang X. et al., ChestX-ray8, CVPR 2017, https://nihcc.app.box.com/v/ChestXray-NIHCC. Its labels were text-mined from
reports (over 90 % right, by the authors' estimate), so a finding without a label counts as absent.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from curriculum.importers.files import read_csv
from curriculum.importers.films import ImportSummary, Label, check_findings, import_films, read_age
from curriculum.taskset import TaskSetError, read_rows

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural Thickening",
    "Pneumonia",
    "Pneumothorax",
)
PROVENANCE = {
    "source": "nih-chestxray14",
    "licence": "NIH Clinical Center: no restrictions, attribution requested",
    "attribution": "NIH Clinical Center / Wang et al., ChestX-ray8, CVPR 2017",
}
CSV_SIZE = (1024, 1024)  # of the PNG files that NIH ships, to which BBox_List_2017.csv refers
_BOX_NAMES = {"Infiltrate": "Infiltration"}  # BBox_List_2017.csv has a name of its own for it
_UNLABELLED = "that were not labelled for the NIH findings"


def import_nih(images: Path, labels: Path, out: Path, seed: int = 0, boxes: Path | None = None) -> ImportSummary:
    """Writes `out`/tasks.parquet, with every family of question that NIH's labels answer.

    Args:
        images: folder with the films, at any depth.
        labels: NIH's Data_Entry_2017.csv, or a Parquet file with image_id, file, labels, no_finding, patient_id
            (and split, view, sex, age, follow_up, boxes, width, height, source, license, attribution where known).
            A null no_finding marks a film that was not labelled for the NIH findings; it is skipped.
        boxes: NIH's BBox_List_2017.csv, beside the CSV.

    Raises:
        TaskSetError: the label file cannot be used; see also `films.import_films`.
    """
    skipped: Counter[str] = Counter()
    if labels.suffix.lower() == ".csv":
        rows = _read_csv(labels, _read_boxes(boxes) if boxes else {})
    elif boxes:
        raise TaskSetError(
            f"{boxes}: a box list goes with Data_Entry_2017.csv; a Parquet label file has its own column 'boxes'"
        )
    else:
        rows = _read_parquet(labels, skipped)
    return import_films(rows, images, labels, out, FINDINGS, seed, skipped)


def _read_csv(path: Path, boxes: dict[str, list[tuple]]) -> Iterator[Label]:
    columns = ("Image Index", "Finding Labels", "Patient ID")
    for place, row in read_csv(path, columns, "NIH's Data_Entry_2017.csv"):
        image = row["Image Index"]
        where = f"{place}, image {image!r}"
        names = [name.strip() for name in row["Finding Labels"].split("|")]
        healthy = names == ["No Finding"]
        person = _person(row.get("View Position"), row.get("Patient Gender"), row.get("Patient Age"))
        yield _label(
            where,
            os.path.splitext(image)[0],
            image,
            row["Patient ID"],
            [] if healthy else names,
            healthy,
            row.get("split", ""),
            PROVENANCE | person,
            row.get("Follow-up #"),
            tuple(boxes.get(image, ())),
            CSV_SIZE,
        )


def _read_boxes(path: Path) -> dict[str, list[tuple]]:
    """Image name to (finding, left, top, right, bottom)."""
    # Its header names the four numbers "Bbox [x,y,w,h]" with commas inside, so that they spread over four columns.
    found = defaultdict(list)
    columns = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")
    for place, row in read_csv(path, columns, "NIH's BBox_List_2017.csv"):
        try:
            edges = [float(row[name]) for name in columns[2:]]
        except ValueError as error:
            raise TaskSetError(f"{place}: {error}; a box is four numbers") from error
        found[row["Image Index"]].append(_box(row["Finding Label"], *edges))
    return found


def _box(label: str, x: float, y: float, w: float, h: float) -> tuple[str, float, float, float, float]:
    """NIH's left, top, width and height as `Label` has boxes."""
    name = label.replace("_", " ")
    return _BOX_NAMES.get(name, name), x, y, x + w, y + h


def _read_parquet(path: Path, skipped: Counter[str]) -> Iterator[Label]:
    for number, row in enumerate(read_rows(path, ("image_id", "file", "labels", "no_finding", "patient_id"))):
        if row["no_finding"] is None:
            skipped[_UNLABELLED] += 1
            continue
        where = f"{path}: row {number} (0-based), image {row['image_id']!r}"
        provenance = {
            name: row.get(column) or PROVENANCE[name]
            for name, column in [("source", "source"), ("licence", "license"), ("attribution", "attribution")]
        }
        boxes = tuple(_box(b["label"], b["x"], b["y"], b["w"], b["h"]) for b in json.loads(row.get("boxes") or "[]"))
        yield _label(
            where,
            row["image_id"],
            row["file"],
            row["patient_id"],
            row["labels"] or [],
            row["no_finding"],
            row.get("split") or "",
            provenance | _person(row.get("view"), row.get("sex"), row.get("age")),
            row.get("follow_up"),
            boxes,
            (row.get("width"), row.get("height")),
        )


def _person(view: object, sex: object, age: object) -> dict[str, object]:
    """What strata need, as far as it is told."""
    return {"view": str(view or ""), "sex": str(sex) if sex in ("F", "M") else "", "age": read_age(age)}


def _label(
    where: str,
    id: object,
    file: object,
    patient: object,
    labels: object,
    healthy: bool,
    split: str,
    provenance: dict[str, object],
    order: object,
    boxes: tuple,
    size: tuple,
) -> Label:
    if not isinstance(labels, list):
        raise TaskSetError(f"{where}: labels must be a list of names, found {labels!r:.80}")
    if not id or not file or patient in (None, ""):
        raise TaskSetError(f"{where}: the image or its patient has no name; both are needed")
    findings = tuple(str(name).replace("_", " ") for name in labels)
    check_findings(where, findings, healthy, FINDINGS)
    if boxes and not all(size):
        raise TaskSetError(
            f"{where}: boxes are in pixels, and the columns width and height do not say of how large a film"
        )
    return Label(
        where,
        str(id),
        str(file),
        str(patient),
        findings,
        split=split,
        provenance=provenance,
        boxes=boxes,
        size=size,
        order=float(order) if order not in (None, "") else None,
    )
