"""A folder of DICOM films and a CSV of their findings, made into PNG files without anything that names a patient.

The CSV has the columns `image` (a file's name or the end of its path, with or without .dcm, or its SOPInstanceUID),
`labels` ("Effusion|Mass", or "No finding"), `patient_id`, and `split` where the set has one. A finding that some row names
counts as looked for in every film.

Pixels are read as the DICOM standard displays them (PS3.3 C.7.6.3, C.11.1, C.11.2): modality LUT or rescale, the first
VOI LUT or window, MONOCHROME1 inverted, then 8 bits. A film without a window is stretched from its darkest to its
brightest value.

From the header are kept: ViewPosition, PatientSex, PatientAge (years, at most 90). StudyDate only orders the films of a
patient. Patients and films are named by hashes keyed with the seed: the same seed gives the same names and splits,
and whoever knows it can try out identifiers, so keep a long one to yourself where that matters.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from curriculum.importers.files import read_csv
from curriculum.importers.films import ImportSummary, Label, import_films, index_images, locate
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

    Raises:
        TaskSetError: the CSV cannot be used, a film is damaged, or its compression needs a package that is not there;
            see also `films.import_films`.
    """
    skipped: Counter[str] = Counter()
    rows = [
        (f"{place}, image {row['image']!r}", row)
        for place, row in read_csv(labels, COLUMNS, f"a CSV file with the columns {', '.join(COLUMNS)}")
    ]
    findings = [_findings(row["labels"], where) for where, row in rows]
    vocabulary = sorted({name for names in findings for name in names})
    if len(vocabulary) < 2:
        raise TaskSetError(f"{labels}: the column labels names the findings {vocabulary}; questions need two or more")
    os.makedirs(out / "images", exist_ok=True)
    found = _Films(images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom on odd headers, whose values may be a patient's
        films = [
            film
            for (where, row), names in zip(rows, findings, strict=True)
            for film in _film(row, names, where, found, out / "images", seed, skipped)
        ]
    if not films:
        raise TaskSetError(
            f"{labels}: none of its {len(rows)} films could be used: "
            + "; ".join(f"{count} {why}" for why, count in skipped.items())
        )
    return import_films(films, out / "images", labels, out, vocabulary, seed, skipped)


def _findings(cell: str, where: str) -> tuple[str, ...]:
    names = [" ".join(name.split()) for name in cell.split("|")]
    healthy = [name.casefold() == NO_FINDING.casefold() for name in names]
    if not all(names) or len(set(names)) < len(names) or (any(healthy) and len(names) > 1):
        raise TaskSetError(
            f"{where}: labels {cell!r:.60}; findings separated by |, each once, or {NO_FINDING!r} alone, are needed"
        )
    return () if healthy[0] else tuple(names)


def _film(
    row: dict[str, str],
    findings: tuple[str, ...],
    where: str,
    found: _Films,
    folder: Path,
    seed: int,
    skipped: Counter[str],
) -> Iterator[Label]:
    """What is known of one film, whose PNG is written; nothing where it is skipped."""
    if not row["image"] or not row["patient_id"]:
        raise TaskSetError(f"{where}: the image or its patient has no name; both are needed")
    path = found.path(row["image"], where)
    if not path:
        skipped["whose DICOM file is not below the image folder"] += 1
        return
    header = _read(path, where)
    if reason := _unfit(header):
        skipped[reason] += 1
        return
    id = _hash(str(header.SOPInstanceUID), seed)
    file = f"{id}.png"
    Image.fromarray(_pixels(header, f"{where}, {path}")).save(folder / file)
    date = str(header.get("StudyDate") or "")
    yield Label(
        where,
        id,
        file,
        _hash(row["patient_id"], seed),
        findings,
        split=row.get("split", ""),
        provenance=_strata(header),
        order=float(date) if date.isdigit() else None,
    )


class _Films:
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
            if path := locate(Label(where, name, name + ending, ""), self._by_name[depth]):
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
    except Exception as error:  # noqa: BLE001 - pydicom raises many kinds on damaged files
        raise TaskSetError(f"{where}: {path} is no DICOM file that can be read ({error})") from error
    if missing := [name for name in ("SOPInstanceUID", "PixelData", "PhotometricInterpretation") if name not in header]:
        raise TaskSetError(f"{where}: {path} has no {missing[0]}; a DICOM image is needed")
    return header


def _unfit(header: Dataset) -> str | None:
    """Why a film is left out, if it is."""
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
    except Exception as error:  # noqa: BLE001 - what decoders raise is not bounded
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
    """The values that the VOI LUT or window makes black and white; without one, the darkest and brightest value."""
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
    age = str(header.get("PatientAge") or "").upper()
    years = int(age[:-1]) * _DAYS[age[-1]] / _DAYS["Y"] if age[:-1].isdigit() and age[-1] in _DAYS else None
    view = _VIEWS.get(str(header.get("ViewPosition") or "").upper(), "")
    return {
        "view": view,
        "sex": sex if sex in ("F", "M", "O") else "",
        "age": None if years is None else round(min(years, _OLDEST), 1),
        "source": "dicom",
    }


def _hash(identifier: str, seed: int) -> str:
    return hashlib.blake2b(identifier.encode(), key=str(seed).encode()[:64], digest_size=12).hexdigest()
