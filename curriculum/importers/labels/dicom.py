"""A folder of DICOM films and a CSV of their findings, made into PNG files without anything that names a patient.

The CSV has the columns `image` (a file's name or the end of its path, with or without .dcm, or its SOPInstanceUID),
`labels` ("Effusion|Mass", also with ";" or ",", or "No finding"), `patient_id`, and `split` if the set has one. A
finding that any row names counts as looked for in every film.

`parts.dicom_film` says how pixels are read. A film that cannot be read is skipped; if most of the films are like that,
the import is refused.

Kept from the header: ViewPosition, PatientSex, PatientAge (years, at most 90). StudyDate only orders the films of a
patient. Patients and films are named by hashes keyed with the seed: the same seed gives the same names and splits.
Anyone who knows the seed can try out identifiers, so if that matters, choose a long one and keep it secret.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from curriculum.importers.importer import CLUSTER, OUT, Importer, ImportSummary, Option, Skipped, skip_lines
from curriculum.importers.parts.dicom_film import FilmError, read_uid
from curriculum.importers.parts.dicom_png import (
    NOT_FOUND,
    NotUsed,
    WrittenFilm,
    check_here,
    check_share,
    in_parts,
    quiet_pydicom,
    write_film,
)
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.films import import_films, index_images, locate, path_ends, path_key
from curriculum.importers.parts.label import Label, listed_findings
from curriculum.taskset import TaskSetError

if TYPE_CHECKING:
    from curriculum.sets.mapped import Spread

COLUMNS = ("image", "labels", "patient_id")
_ENDINGS = ("", ".dcm", ".dicom", ".DCM")


def import_dicom(images: Path, labels: Path, out: Path, seed: int = 0, cluster: Spread = map) -> ImportSummary:
    """Writes `out`/images/*.png and `out`/tasks.parquet, with every family of question that the labels answer.

    Args:
        images: folder with the DICOM files, at any depth.
        labels: the CSV.
        out: folder for the task set and the PNG files.
        seed: of the questions and splits, and the key of the hashed names.
        cluster: who reads the films.

    Raises:
        TaskSetError: the CSV cannot be used, no film can be read, or, of 20 films or more, most cannot; see also
            `films.import_films`.
    """
    skipped = Skipped()
    rows = _read_labels(labels)
    vocabulary: set[str] = set()
    for row in rows:
        vocabulary.update(row.findings)
    names = sorted(vocabulary)
    if len(names) < 2:
        raise TaskSetError(f"{labels}: the column labels names the findings {names}; questions need two or more")
    png_folder = out / "images"
    os.makedirs(png_folder, exist_ok=True)
    index = _FilmIndex(images)
    ends = path_ends([row.image for row in rows])
    found = [(row, path) for row, end in zip(rows, ends, strict=True) if (path := _find(row, end, index, skipped))]
    films = []
    written = in_parts(cluster, partial(_write, png_folder, seed), [(row.image, path) for row, path in found])
    for (row, _), film in zip(found, written, strict=True):
        if isinstance(film, NotUsed):
            skipped.note(*film)
        else:
            check_here(png_folder / f"{film.name}.png")
            films.append(_label(row, film, seed))
        check_share(labels, len(films), skipped)
    if not films:
        reasons = "; ".join(skip_lines(skipped, "films"))
        raise TaskSetError(f"{labels}: none of its {len(rows)} films could be used: {reasons}")
    return import_films(films, png_folder, labels, out, names, seed, skipped)


@dataclass(frozen=True)
class _Row:
    """A row of the CSV; `where` is its place in words, for messages."""

    where: str
    image: str
    patient: str
    split: str
    findings: tuple[str, ...]


def _read_labels(labels: Path) -> list[_Row]:
    rows = []
    for place, row in read_csv(labels, COLUMNS, f"a CSV file with the columns {', '.join(COLUMNS)}"):
        where = f"{place}, image {row['image']!r}"
        findings = listed_findings(row["labels"], where)
        rows.append(_Row(where, row["image"], row["patient_id"], row.get("split", ""), findings))
    return rows


def _find(row: _Row, end: str, index: _FilmIndex, skipped: Skipped) -> str | None:
    """The path of a film, by the end of its path, its name or its UID; None if it is not there."""
    if not row.image or not row.patient:
        raise TaskSetError(f"{row.where}: the image or its patient has no name; both are needed")
    path = index.path(end, row.where)
    if not path:
        skipped.note(NOT_FOUND, row.image)
    return path


def _write(folder: Path, seed: int, films: Sequence[tuple[str, str]]) -> list[WrittenFilm | NotUsed]:
    """Writes the PNG files of some films, each by its name in messages and its path."""
    with quiet_pydicom():
        return [
            write_film(path, image, folder, lambda header: _hash(str(header.SOPInstanceUID), seed))
            for image, path in films
        ]


def _label(row: _Row, film: WrittenFilm, seed: int) -> Label:
    """What is known of a film."""
    return Label(
        row.where,
        id=film.name,
        file=f"{film.name}.png",
        patient=_hash(row.patient, seed),
        findings=row.findings,
        split=row.split,
        provenance=film.strata | {"source": "dicom"},
        order=float(film.date) if film.date.isdecimal() else None,
    )


class _FilmIndex:
    """The DICOM files below a folder, by name and, once a name is not found, by SOPInstanceUID."""

    def __init__(self, images: Path) -> None:
        self.images = images
        self._by_name: dict[int, dict[str, list[str]]] = {}
        self._by_uid: dict[str, str] | None = None

    def path(self, name: str, where: str) -> str | None:
        depth = path_key(name).count("/") + 1
        if depth not in self._by_name:
            self._by_name[depth] = index_images(self.images, (depth,), ("",))
        for ending in _ENDINGS:
            path = locate(Label(where, name, name + ending, ""), self._by_name[depth])
            if path:
                return path
        if self._by_uid is None:
            self._by_uid = dict(self._uids())
        return self._by_uid.get(name)

    def _uids(self) -> Iterator[tuple[str, str]]:
        for paths in index_images(self.images, suffixes=("",)).values():
            for path in paths:
                try:
                    yield read_uid(path), path
                except FilmError:  # another kind of file
                    continue


def _hash(identifier: str, seed: int) -> str:
    return hashlib.blake2b(identifier.encode(), key=str(seed).encode()[:64], digest_size=12).hexdigest()


DICOM = Importer(
    "dicom",
    "Your own DICOM films: made into PNG without anything that identifies a patient; questions on findings and view.",
    (
        Option("images", "folder with the DICOM files, at any depth", "folder"),
        Option("labels", "CSV with the columns image, labels, patient_id", "path"),
        OUT,
        Option("seed", "of the questions and splits, and the key of the hashed names", "integer", required=False),
        CLUSTER,
    ),
    import_dicom,
)
