"""The films of sets that are shipped as DICOM and often used as PNG or JPEG: either is read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from curriculum.importers.importer import Option, Skipped, skip_lines
from curriculum.importers.parts.dicom_png import (
    NotUsed,
    check_here,
    check_share,
    in_parts,
    quiet_pydicom,
    write_film,
)
from curriculum.importers.parts.films import IMAGE_SUFFIXES, index_images, locate
from curriculum.importers.parts.label import Label
from curriculum.taskset import TaskSetError

if TYPE_CHECKING:
    from curriculum.sets.mapped import Spread

DICOM_SUFFIXES = (".dcm", ".dicom")
FILMS = Option("images", "folder with the films, DICOM, PNG or JPEG, at any depth", "folder")
_NOT_FOUND = "whose file is not below the image folder"
_UNREADABLE = "whose image cannot be read"


class FilmFile(NamedTuple):
    """The file of a film.

    Attributes:
        file: absolute path of the PNG or JPEG file.
        size: width and height in pixels.
        strata: view, sex and age, as far as a DICOM header gives them.
        dicom: whether it was made from DICOM, so that it has the film's own pixels.
    """

    file: str
    size: tuple[int, int]
    strata: dict[str, object]
    dicom: bool


def find_films(
    images: Path, names: Mapping[str, str], label_file: Path, out: Path, skipped: Skipped, cluster: Spread = map
) -> dict[str, FilmFile]:
    """The films that are there, by name. Those that are DICOM are written to `out`/images.

    Args:
        images: folder with the films, at any depth.
        names: of the films, which are their files' without .png, .jpg, .jpeg, .dcm or .dicom, to where they are named.
        label_file: that names them, for messages.
        out: folder of the task set.
        skipped: counts the films that are not there or cannot be read.
        cluster: who reads them.

    Raises:
        TaskSetError: none of the films is there, two have one name, or most DICOM files cannot be read.
    """
    index = index_images(images, suffixes=(*IMAGE_SUFFIXES, *DICOM_SUFFIXES))
    found = [(name, path) for name, where in names.items() if (path := _find(name, where, index, skipped))]
    films: dict[str, FilmFile] = {}
    read = in_parts(cluster, partial(_read, out / "images"), found)
    for (name, _), film in zip(found, read, strict=True):
        if isinstance(film, NotUsed):
            skipped.note(*film)
        else:
            check_here(Path(film.file))
            films[name] = film
        check_share(label_file, len(films), skipped)
    if not films:
        reasons = "; ".join(skip_lines(skipped, "films"))
        first = next(iter(names), "unknown")
        raise TaskSetError(
            f"{images}: none of the {len(names)} films of {label_file} is below this folder and can be read; the first "
            f"would be {first}.dcm or {first}.png ({reasons})"
        )
    return films


def _find(name: str, where: str, index: dict[str, list[str]], skipped: Skipped) -> str | None:
    for suffix in (*IMAGE_SUFFIXES, *DICOM_SUFFIXES):
        if path := locate(Label(where, name, name + suffix, ""), index):
            return path
    skipped.note(_NOT_FOUND, name)
    return None


def _read(folder: Path, films: Sequence[tuple[str, str]]) -> list[FilmFile | NotUsed]:
    """Some films, each by name and path. The PNG files of DICOM films go to the folder."""
    with quiet_pydicom():
        return [_film(name, path, folder) for name, path in films]


def _film(name: str, path: str, folder: Path) -> FilmFile | NotUsed:
    if path.lower().endswith(IMAGE_SUFFIXES):
        return _image(path, name)
    film = write_film(path, name, folder, lambda header: name)
    if isinstance(film, NotUsed):
        return film
    return FilmFile(os.path.abspath(folder / f"{name}.png"), film.size, film.strata, dicom=True)


def _image(path: str, name: str) -> FilmFile | NotUsed:
    try:
        with Image.open(path) as image:
            return FilmFile(path, image.size, {}, dicom=False)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return NotUsed(_UNREADABLE, f"{name}: {error}")
