"""DICOM films made into PNG files, with what their headers say that does not identify a patient."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from curriculum.importers.importer import Skipped, skip_lines
from curriculum.importers.parts.dicom_film import FilmError, element_text, film_pixels, read_film, reason_to_skip
from curriculum.taskset import TaskSetError

if TYPE_CHECKING:
    from pydicom import Dataset

    from curriculum.sets.mapped import Spread

NOT_FOUND = "whose DICOM file is not below the image folder"
UNREADABLE = "whose DICOM file cannot be read"
_VIEWS = {"PA": "PA", "AP": "AP", "LL": "Lateral", "RL": "Lateral", "LATERAL": "Lateral", "LAT": "Lateral"}
_DAYS = {"Y": 365.25, "M": 30.4375, "W": 7, "D": 1}
_OLDEST = 90.0  # ages above 89 count as identifying (HIPAA)
_FILMS_AT_ONCE = 16  # that a process of a cluster gets
_TRIED_AT_LEAST = 20  # films, before the import is refused since most cannot be read


@dataclass(frozen=True)
class WrittenFilm:
    """A film that was written to a PNG file.

    Attributes:
        name: of the PNG file without .png.
        size: width and height in pixels.
        strata: view, sex and age, as far as the header gives them.
        date: StudyDate as the header writes it; "" if it has none.
    """

    name: str
    size: tuple[int, int]
    strata: dict[str, object]
    date: str


class NotUsed(NamedTuple):
    """A film that is skipped: the reason, and which film it is, for `Skipped.note`."""

    reason: str
    example: str


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Inside, pydicom does not warn of odd headers, whose values may be a patient's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def write_film(path: str, image: str, folder: Path, name_of: Callable[[Dataset], str]) -> WrittenFilm | NotUsed:
    """Writes the PNG of a DICOM film that can be used.

    Args:
        path: the DICOM file.
        image: what messages call the film.
        folder: for the PNG file; it is made if it is not there.
        name_of: takes the header and gives the name of the PNG file without .png.
    """
    try:
        header = read_film(path)
        reason = reason_to_skip(header)
        if reason:
            return NotUsed(reason, image)
        pixels = film_pixels(header)
        strata = _strata(header)
        date = element_text(header, "StudyDate")
    except FilmError as error:
        return NotUsed(UNREADABLE, f"{path}: {error}")
    name = name_of(header)
    os.makedirs(folder, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"{name}.png")
    return WrittenFilm(name, (pixels.shape[1], pixels.shape[0]), strata, date)


def in_parts(cluster: Spread, function: Callable[[Sequence[Any]], list[Any]], films: Sequence[Any]) -> Iterator[Any]:
    """What a function makes of each of some films, in their order; it gets a few of them at once."""
    parts = [films[first : first + _FILMS_AT_ONCE] for first in range(0, len(films), _FILMS_AT_ONCE)]
    for made in cluster(function, parts):
        yield from made


def check_here(path: Path) -> None:
    """Raises TaskSetError unless a film that was written is there for this process, too."""
    if not path.exists():
        raise TaskSetError(
            f"{path}: a process of the cluster wrote this film, and it is not here; with --cluster all nodes must "
            "reach the films and --out under the same paths"
        )


def check_share(labels: Path, read: int, skipped: Skipped) -> None:
    """Refuses the import as soon as most of its films cannot be read: one cause is then more likely than many.

    Raises:
        TaskSetError: of 20 films or more that were there, more than half could not be read.
    """
    tried = read + skipped[UNREADABLE]
    if tried >= _TRIED_AT_LEAST and skipped[UNREADABLE] > tried / 2:
        line = next(line for line in skip_lines(skipped, "films") if UNREADABLE in line)
        raise TaskSetError(f"{labels}: of the first {tried} films that are there, {line}; more than half is refused")


def _strata(header: Dataset) -> dict[str, object]:
    sex = element_text(header, "PatientSex").upper()
    years = _years(element_text(header, "PatientAge").upper())
    return {
        "view": _VIEWS.get(element_text(header, "ViewPosition").upper(), ""),
        "sex": sex if sex in ("F", "M", "O") else "",
        "age": None if years is None else round(min(years, _OLDEST), 1),
    }


def _years(age: str) -> float | None:
    """Years of a DICOM age such as 058Y or 011M; None if it is not one."""
    number, unit = age[:-1], age[-1:]
    if not number.isdecimal() or unit not in _DAYS:
        return None
    return int(number) * _DAYS[unit] / _DAYS["Y"]
