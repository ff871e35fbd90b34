"""The films of sets that are shipped as DICOM and often used as PNG or JPEG: either is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from curriculum.importers.importer import Option, Skipped, skip_lines
from curriculum.importers.parts.dicom_png import check_share, quiet_pydicom, write_film
from curriculum.importers.parts.films import IMAGE_SUFFIXES, index_images, locate
from curriculum.importers.parts.label import Label
from curriculum.taskset import TaskSetError

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
    images: Path, names: Mapping[str, str], label_file: Path, out: Path, skipped: Skipped
) -> dict[str, FilmFile]:
    """The films that are there, by name. Those that are DICOM are written to `out`/images.

    Args:
        images: folder with the films, at any depth.
        names: of the films, which are their files' without .png, .jpg, .jpeg, .dcm or .dicom, to where they are named.
        label_file: that names them, for messages.
        out: folder of the task set.
        skipped: counts the films that are not there or cannot be read.

    Raises:
        TaskSetError: none of the films is there, two have one name, or most DICOM files cannot be read.
    """
    index = index_images(images, suffixes=(*IMAGE_SUFFIXES, *DICOM_SUFFIXES))
    films: dict[str, FilmFile] = {}
    with quiet_pydicom():
        for name, where in names.items():
            film = _find(name, where, index, out / "images", skipped)
            if film:
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


def _find(name: str, where: str, index: dict[str, list[str]], folder: Path, skipped: Skipped) -> FilmFile | None:
    for suffix in (*IMAGE_SUFFIXES, *DICOM_SUFFIXES):
        path = locate(Label(where, name, name + suffix, ""), index)
        if path and suffix in IMAGE_SUFFIXES:
            return _image(path, name, skipped)
        if path:
            os.makedirs(folder, exist_ok=True)
            film = write_film(path, name, folder, skipped, lambda header: name)
            if not film:
                return None
            return FilmFile(os.path.abspath(folder / f"{name}.png"), film.size, film.strata, dicom=True)
    skipped.note(_NOT_FOUND, name)
    return None


def _image(path: str, name: str, skipped: Skipped) -> FilmFile | None:
    try:
        with Image.open(path) as image:
            return FilmFile(path, image.size, {}, dicom=False)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        skipped.note(_UNREADABLE, f"{name}: {error}")
        return None
