"""A folder of DICOM films and a CSV of their findings, made into PNG files without anything that names a patient.

The CSV has the columns `image` (a file's name or the end of its path, with or without .dcm, or its SOPInstanceUID),
`labels` ("Effusion|Mass", or "No finding"), `patient_id`, and `split` if the set has one. A finding that any row names
counts as looked for in every film.

Pixels are read as the DICOM standard displays them (PS3.3 C.7.6.3, C.11.1, C.11.2): modality LUT or rescale, the first
VOI LUT or window, MONOCHROME1 inverted, then 8 bits. A film without a window is stretched from its darkest to its
brightest value.

Kept from the header: ViewPosition, PatientSex, PatientAge (years, at most 90). StudyDate only orders the films of a
patient. Patients and films are named by hashes keyed with the seed: the same seed gives the same names and splits.
Anyone who knows the seed can try out identifiers, so if that matters, choose a long one and keep it secret.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from curriculum.importers.importer import OUT, Importer, ImportSummary, Option
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.films import import_films, index_images, locate
from curriculum.importers.parts.label import Label
from curriculum.task import NO_FINDING
from curriculum.taskset import TaskSetError

if TYPE_CHECKING:
    from pydicom import Dataset

COLUMNS = ("image", "labels", "patient_id")
_ENDINGS = ("", ".dcm", ".dicom", ".DCM")
_VIEWS = {"PA": "PA", "AP": "AP", "LL": "Lateral", "RL": "Lateral", "LATERAL": "Lateral", "LAT": "Lateral"}
_DAYS = {"Y": 365.25, "M": 30.4375, "W": 7, "D": 1}
_OLDEST = 90.0  # ages above 89 count as identifying (HIPAA)
_GREY = ("MONOCHROME1", "MONOCHROME2")


def import_dicom(images: Path, labels: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/images/*.png and `out`/tasks.parquet, with every family of question that the labels answer.

    Args:
        images: folder with the DICOM files, at any depth.
        labels: the CSV.
        out: folder for the task set and the PNG files.
        seed: of the questions and splits, and the key of the hashed names.

    Raises:
        TaskSetError: the CSV cannot be used, a film is damaged, or its compression needs a package that is not
            installed; see also `films.import_films`.
    """
    skipped: Counter[str] = Counter()
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
    films = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns about odd headers, whose values may be a patient's
        for row in rows:
            film = _convert(row, index, png_folder, seed, skipped)
            if film:
                films.append(film)
    if not films:
        reasons = "; ".join(f"{count} {reason}" for reason, count in skipped.items())
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
        findings = _findings(row["labels"], where)
        rows.append(_Row(where, row["image"], row["patient_id"], row.get("split", ""), findings))
    return rows


def _findings(cell: str, where: str) -> tuple[str, ...]:
    names = [" ".join(name.split()) for name in cell.split("|")]
    healthy = [name.casefold() == NO_FINDING.casefold() for name in names]
    if not all(names) or len(set(names)) < len(names) or (any(healthy) and len(names) > 1):
        raise TaskSetError(
            f"{where}: labels {cell!r:.60}; findings separated by |, each once, or {NO_FINDING!r} alone, are needed"
        )
    return () if healthy[0] else tuple(names)


def _convert(row: _Row, index: _FilmIndex, folder: Path, seed: int, skipped: Counter[str]) -> Label | None:
    """Writes the PNG of one film and returns what is known of it; None if the film is skipped."""
    if not row.image or not row.patient:
        raise TaskSetError(f"{row.where}: the image or its patient has no name; both are needed")
    path = index.path(row.image, row.where)
    if not path:
        skipped["whose DICOM file is not below the image folder"] += 1
        return None
    header = _read(path, row.where)
    reason = _reason_to_skip(header)
    if reason:
        skipped[reason] += 1
        return None
    id = _hash(str(header.SOPInstanceUID), seed)
    file = f"{id}.png"
    Image.fromarray(_pixels(header, f"{row.where}, {path}")).save(folder / file)
    date = str(header.get("StudyDate") or "")
    return Label(
        row.where,
        id=id,
        file=file,
        patient=_hash(row.patient, seed),
        findings=row.findings,
        split=row.split,
        provenance=_strata(header),
        order=float(date) if date.isdigit() else None,
    )


class _FilmIndex:
    """The DICOM files below a folder, by name and, once a name is not found, by SOPInstanceUID."""

    def __init__(self, images: Path) -> None:
        self.images = images
        self._by_name: dict[int, dict[str, list[str]]] = {}
        self._by_uid: dict[str, str] | None = None

    def path(self, name: str, where: str) -> str | None:
        depth = name.count("/") + 1
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
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError

        for paths in index_images(self.images, suffixes=("",)).values():
            for path in paths:
                try:
                    header = dcmread(path, specific_tags=["SOPInstanceUID"], stop_before_pixels=True)
                    yield str(header.get("SOPInstanceUID")), path
                except (InvalidDicomError, OSError):  # another kind of file
                    continue


def _read(path: str, where: str) -> Dataset:
    from pydicom import dcmread

    try:
        header = dcmread(path)
    except Exception as error:  # pydicom raises many kinds on damaged files
        raise TaskSetError(f"{where}: {path} is no DICOM file that can be read ({error})") from error
    for name in ("SOPInstanceUID", "PixelData", "PhotometricInterpretation"):
        if name not in header:
            raise TaskSetError(f"{where}: {path} has no {name}; a DICOM image is needed")
    return header


def _reason_to_skip(header: Dataset) -> str | None:
    """Why a film is left out; None if it is used."""
    if str(header.get("BurnedInAnnotation", "")).upper() == "YES":
        return "with text burnt into their pixels (BurnedInAnnotation)"
    if header.PhotometricInterpretation not in _GREY:
        return "whose pixels are in colour"
    return "of several frames" if int(header.get("NumberOfFrames") or 1) > 1 else None


def _pixels(header: Dataset, where: str) -> np.ndarray:
    """The film as it is displayed, of shape (rows, columns), 0 black to 255 white."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    try:
        values = apply_modality_lut(header.pixel_array, header)
        low, high = _display_range(header, values)
        values = apply_voi_lut(values, header).astype(np.float64)
    except Exception as error:  # what decoders raise is not bounded
        fault = str(error).partition("\n")[0].rstrip(":")
        syntax = header.file_meta.get("TransferSyntaxUID")
        if syntax and syntax.is_compressed:
            fault += f"; compressed as {syntax.name} ({syntax}), pip install 'curlvpr[dicom]' reads more kinds"
        raise TaskSetError(f"{where}: the pixels cannot be read: {fault}") from error
    scaled = np.clip((values - low) / (high - low or 1), 0, 1)
    if header.PhotometricInterpretation == "MONOCHROME1":
        scaled = 1 - scaled
    return (scaled * 255).round().astype(np.uint8)


def _display_range(header: Dataset, values: np.ndarray) -> tuple[float, float]:
    """The values that become black and white: by the VOI LUT or window; without one, the darkest and brightest."""
    from pydicom.pixels import apply_windowing

    if header.get("VOILUTSequence"):
        entries, first, bits = header.VOILUTSequence[0].LUTDescriptor
        # The library holds indices in the type of the entries; more than 256 entries of 8 bits would wrap round.
        header.VOILUTSequence[0].LUTDescriptor = [entries, first, max(bits, 16)]
        return 0, 2**bits - 1
    if header.get("WindowCenter") is not None and header.get("WindowWidth") is not None:
        with np.errstate(over="ignore"):
            low, high = apply_windowing(np.array([-1e9, 1e9]), header)
        return float(low), float(high)
    return float(values.min()), float(values.max())


def _strata(header: Dataset) -> dict[str, object]:
    sex = str(header.get("PatientSex") or "").upper()
    years = _years(str(header.get("PatientAge") or "").upper())
    view = _VIEWS.get(str(header.get("ViewPosition") or "").upper(), "")
    return {
        "view": view,
        "sex": sex if sex in ("F", "M", "O") else "",
        "age": None if years is None else round(min(years, _OLDEST), 1),
        "source": "dicom",
    }


def _years(age: str) -> float | None:
    """Years of a DICOM age such as 058Y or 011M; None if it is not one."""
    number, unit = age[:-1], age[-1:]
    if not number.isdigit() or unit not in _DAYS:
        return None
    return int(number) * _DAYS[unit] / _DAYS["Y"]


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
    ),
    import_dicom,
)
