"""SIIM-ACR Pneumothorax Segmentation 2019: masks of pneumothoraces, of which the boxes around them are asked.

The files are those of Kaggle's page (Data) of the competition siim-acr-pneumothorax-segmentation: train-rle.csv, or
stage_2_train.csv, with the columns `ImageId` (the SOPInstanceUID, and the file's name) and `EncodedPixels`, a row for
each mask. A mask is "start length start length …": a start counts pixels from the end of the run before, down the
columns of a film of 1024 × 1024; "-1" is no mask, that is no pneumothorax. (The competition's mask_functions.py reads
it so.)

Only pneumothorax was looked for, so that nothing is asked about other findings. The files name no patients: a film
counts as one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from curriculum.importers.importer import CLUSTER, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.film_files import FILMS, find_films
from curriculum.importers.parts.films import import_films
from curriculum.importers.parts.label import OTHERS, Box, Label
from curriculum.taskset import TaskSetError

if TYPE_CHECKING:
    from curriculum.sets.mapped import Spread

FINDING = "Pneumothorax"
SIDE = 1024  # pixels of the films, to which the masks refer
PROVENANCE: dict[str, object] = {
    "source": "siim-pneumothorax",
    "licence": "Kaggle competition rules: non-commercial and academic use",
    "attribution": "SIIM-ACR Pneumothorax Segmentation 2019; films: NIH Clinical Center",
}
_NO_MASK = "-1"


def import_siim(images: Path, labels: Path, out: Path, seed: int = 0, cluster: Spread = map) -> ImportSummary:
    """Writes `out`/tasks.parquet: is there a pneumothorax, and where.

    Args:
        images: folder with the films, DICOM, PNG or JPEG, at any depth.
        labels: train-rle.csv or stage_2_train.csv.
        out: folder for the task set, and for PNG files of DICOM films.
        seed: of the questions and the splits.
        cluster: who reads the films.

    Raises:
        TaskSetError: the file cannot be used; see also `film_files.find_films` and `films.import_films`.
    """
    skipped = Skipped()
    boxes: dict[str, list[Box]] = {}
    names: dict[str, str] = {}
    for place, row in read_csv(labels, ("ImageId", "EncodedPixels"), "SIIM's train-rle.csv"):
        where = f"{place}, image {row['ImageId']!r}"
        names.setdefault(row["ImageId"], where)
        of_film = boxes.setdefault(row["ImageId"], [])
        if row["EncodedPixels"] != _NO_MASK:
            of_film.append((FINDING, *mask_box(where, row["EncodedPixels"])))
    films = find_films(images, names, labels, out, skipped, cluster)
    found = [
        Label(
            names[name],
            id=name,
            file=film.file,
            patient=name,
            findings=(FINDING,) if boxes[name] else (),
            unsure=(OTHERS,),
            denied=() if boxes[name] else (FINDING,),
            provenance=film.strata | PROVENANCE,
            boxes=tuple(boxes[name]),
            size=(SIDE, SIDE),
        )
        for name, film in films.items()
    ]
    return import_films(found, images, labels, out, (FINDING,), seed, skipped)


def mask_box(where: str, runs: str) -> tuple[float, float, float, float]:
    """The left, top, right and bottom of the box around a mask, in pixels.

    Raises:
        TaskSetError: the text is no mask in a film of 1024 × 1024.
    """
    words = runs.split()
    if not words or len(words) % 2 or not all(word.isdecimal() for word in words):
        raise TaskSetError(f"{where}: EncodedPixels is {runs!r:.60}; pairs of start and length, or -1, are needed")
    numbers = [int(word) for word in words]
    columns: list[int] = []
    rows: list[int] = []
    end = 0
    for skip, length in zip(numbers[::2], numbers[1::2], strict=True):
        first, end = end + skip, end + skip + length
        if not length or end > SIDE * SIDE:
            raise TaskSetError(
                f"{where}: EncodedPixels has the run {skip} {length}, which is empty or ends outside {SIDE} × {SIDE}; "
                "a start counts from the end of the run before"
            )
        columns += [first // SIDE, (end - 1) // SIDE]
        whole = first // SIDE != (end - 1) // SIDE  # a run over the end of a column reaches its bottom and the next top
        rows += [0, SIDE - 1] if whole else [first % SIDE, (end - 1) % SIDE]
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


SIIM = Importer(
    "siim",
    "SIIM-ACR pneumothorax: is there a pneumothorax, and where.",
    (FILMS, Option("labels", "train-rle.csv or stage_2_train.csv", "path"), OUT, SEED, CLUSTER),
    import_siim,
)
