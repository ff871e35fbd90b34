"""NIH ChestX-ray14, or a set labelled like it.

Wang X. et al., ChestX-ray8, CVPR 2017, https://nihcc.app.box.com/v/ChestXray-NIHCC. Its labels were text-mined from
reports (over 90 % right, the authors estimate), so a finding without a label counts as absent.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.films import import_films
from curriculum.importers.parts.label import Box, Label, check_findings, read_age
from curriculum.missing import is_missing
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
_BOX_NAMES = {"Infiltrate": "Infiltration"}  # BBox_List_2017.csv has its own name for it
_COLUMN_OF = {"source": "source", "licence": "license", "attribution": "attribution"}
_UNLABELLED = "that were not labelled for the NIH findings"


@dataclass(frozen=True)
class _Row:
    """A row of either label file, before its values are checked."""

    where: str  # file, row and image, for messages
    id: object
    file: object
    patient: object
    labels: object
    healthy: bool
    split: str
    provenance: dict[str, object]
    order: Any  # the follow-up number
    boxes: tuple[Box, ...] = ()
    size: tuple[Any, Any] = CSV_SIZE  # width and height that the boxes refer to

    def label(self) -> Label:
        """The checked label.

        Raises:
            TaskSetError: the row has no usable image, patient or findings, or boxes without a size.
        """
        if not isinstance(self.labels, list):
            raise TaskSetError(f"{self.where}: labels must be a list of names, found {self.labels!r:.80}")
        if not self.id or not self.file or self.patient in (None, ""):
            raise TaskSetError(f"{self.where}: the image or its patient has no name; both are needed")
        findings = tuple(str(name).replace("_", " ") for name in self.labels)
        check_findings(self.where, findings, self.healthy, FINDINGS)
        if self.boxes and not all(self.size):
            raise TaskSetError(
                f"{self.where}: boxes are in pixels, but the columns width and height do not give the size of the film"
            )
        return Label(
            self.where,
            id=str(self.id),
            file=str(self.file),
            patient=str(self.patient),
            findings=findings,
            split=self.split,
            provenance=self.provenance,
            boxes=self.boxes,
            size=self.size,
            order=self._order(),
        )

    def _order(self) -> float | None:
        if is_missing(self.order):
            return None
        try:
            return float(self.order)
        except (ValueError, TypeError) as error:
            raise TaskSetError(
                f"{self.where}: the follow-up number is {self.order!r:.40}; a number is needed"
            ) from error


def import_nih(images: Path, labels: Path, out: Path, seed: int = 0, boxes: Path | None = None) -> ImportSummary:
    """Writes `out`/tasks.parquet, with every family of question that NIH's labels answer.

    Args:
        images: folder with the films, at any depth.
        labels: NIH's Data_Entry_2017.csv, or a Parquet file with image_id, file, labels, no_finding, patient_id
            (and split, view, sex, age, follow_up, boxes, width, height, source, license, attribution if known).
            A null no_finding marks a film that was not labelled for the NIH findings; it is skipped.
        out: folder for the task set.
        seed: of the questions, and of the splits if the label file gives none.
        boxes: NIH's BBox_List_2017.csv, beside the CSV.

    Raises:
        TaskSetError: the label file cannot be used; see also `films.import_films`.
    """
    skipped = Skipped()
    if labels.suffix.lower() == ".csv":
        rows = _read_csv(labels, _read_boxes(boxes) if boxes else {})
    elif boxes:
        raise TaskSetError(
            f"{boxes}: a box list goes with Data_Entry_2017.csv; a Parquet label file has its own column 'boxes'"
        )
    else:
        rows = _read_parquet(labels, skipped)
    return import_films((row.label() for row in rows), images, labels, out, FINDINGS, seed, skipped)


def _read_csv(path: Path, boxes: dict[str, list[Box]]) -> Iterator[_Row]:
    columns = ("Image Index", "Finding Labels", "Patient ID")
    for place, row in read_csv(path, columns, "NIH's Data_Entry_2017.csv"):
        image = row["Image Index"]
        names = [name.strip() for name in row["Finding Labels"].split("|")]
        healthy = names == ["No Finding"]
        strata = _strata(row.get("View Position"), row.get("Patient Gender"), row.get("Patient Age"))
        yield _Row(
            f"{place}, image {image!r}",
            id=os.path.splitext(image)[0],
            file=image,
            patient=row["Patient ID"],
            labels=[] if healthy else names,
            healthy=healthy,
            split=row.get("split", ""),
            provenance=PROVENANCE | strata,
            order=row.get("Follow-up #"),
            boxes=tuple(boxes.get(image, ())),
        )


def _read_boxes(path: Path) -> dict[str, list[Box]]:
    """Image name to its boxes."""
    # The header names the four numbers "Bbox [x,y,w,h]" with commas inside, so they spread over four columns.
    boxes: dict[str, list[Box]] = defaultdict(list)
    columns = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")
    for place, row in read_csv(path, columns, "NIH's BBox_List_2017.csv"):
        try:
            left, top, width, height = (float(row[name]) for name in columns[2:])
        except ValueError as error:
            raise TaskSetError(f"{place}: {error}; a box is four numbers") from error
        boxes[row["Image Index"]].append(_box(row["Finding Label"], left, top, width, height))
    return boxes


def _box(label: str, left: float, top: float, width: float, height: float) -> Box:
    name = label.replace("_", " ")
    return _BOX_NAMES.get(name, name), left, top, left + width, top + height


def _read_parquet(path: Path, skipped: Skipped) -> Iterator[_Row]:
    for number, row in enumerate(read_rows(path, ("image_id", "file", "labels", "no_finding", "patient_id"))):
        if row["no_finding"] is None:
            skipped[_UNLABELLED] += 1
            continue
        provenance = {name: row.get(column) or PROVENANCE[name] for name, column in _COLUMN_OF.items()}
        strata = _strata(row.get("view"), row.get("sex"), row.get("age"))
        where = f"{path}: row {number} (0-based), image {row['image_id']!r}"
        yield _Row(
            where,
            id=row["image_id"],
            file=row["file"],
            patient=row["patient_id"],
            labels=row["labels"] or [],
            healthy=row["no_finding"],
            split=row.get("split") or "",
            provenance=provenance | strata,
            order=row.get("follow_up"),
            boxes=_marked(row.get("boxes"), where),
            size=(row.get("width"), row.get("height")),
        )


def _marked(text: Any, where: str) -> tuple[Box, ...]:
    """The boxes of a Parquet row, from JSON."""
    try:
        marked = json.loads(text or "[]")
        return tuple(_box(box["label"], *(float(box[edge]) for edge in "xywh")) for box in marked)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise TaskSetError(
            f"{where}: boxes is {text!r:.60}; JSON is needed, a list of objects with label, x, y, w and h"
        ) from error


def _strata(view: object, sex: object, age: object) -> dict[str, object]:
    """View, sex and age of a film, as far as the file gives them."""
    return {"view": str(view or ""), "sex": str(sex) if sex in ("F", "M") else "", "age": read_age(age)}


NIH = Importer(
    "nih",
    "NIH ChestX-ray14: questions on findings, view, progression and, with boxes, place.",
    (
        IMAGES,
        Option("labels", "Data_Entry_2017.csv, or a Parquet file of labels", "path"),
        OUT,
        Option("boxes", "BBox_List_2017.csv, beside the CSV", "path", required=False),
        SEED,
    ),
    import_nih,
)
