"""Reading images: 8-bit RGB out of whatever a film was stored as."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from curriculum.sets.packed_images import open_packed, packed_in

if TYPE_CHECKING:
    from curriculum.taskset import Size

_DEEP_MODES = ("I", "F")  # and I;16, I;16B, …: grey, more than 8 bits
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
_EXIF_ERRORS = (*_PILLOW_ERRORS, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what puts the image upright; 1 is upright."""
_SIDEWAYS = (5, 6, 7, 8)


class ImageError(ValueError):
    """An image cannot be read. One line: file and what is wrong."""


class Scaling(Protocol):
    """How a reader wants large images: scaled down as they are read."""

    def target(self, size: Size) -> Size:
        """What an image of this size is scaled down to; its own size if it stays as it is."""

    def scaled(self, image: Image.Image, size: Size) -> Image.Image:
        """An image, grey (L) or RGB, at this size."""


def load_image(path: str | Path, scaling: Scaling | None = None) -> Image.Image:
    """The whole image, decoded, as RGB, upright as its EXIF orientation says.

    A grey film of more than 8 bits is stretched from its own darkest to its own brightest value, since Pillow
    would clip it at 255. Values that are not finite become black. A DICOM file is read as
    `importers.parts.dicom_film` says.

    Args:
        path: of the file.
        scaling: how large images are wanted; None reads them as large as they are.

    Raises:
        ImageError: no such file, not an image, or an image that breaks off.
    """
    return load_grey_or_rgb(path, scaling).convert("RGB")


def load_grey_or_rgb(path: str | Path, scaling: Scaling | None = None) -> Image.Image:
    """As `load_image`, but a grey image stays grey (L) and is a third as large."""
    with open_image(path) as file:
        if _is_dicom(file):
            film = _read_dicom(file, str(path))
            return _as_wanted(film, scaling, film.size)
        return _read(file, str(path), None, scaling)


def open_image(path: str | Path) -> BinaryIO:
    """The file of an image, or its bytes where it lies inside another file (`packed_images`).

    Raises:
        ImageError: there is no such image, or the file that holds it cannot be read.
    """
    if Path(path).is_file():
        return open(path, "rb")
    packed = packed_in(path)
    if packed is None:
        raise ImageError(f"{path}: no such image file")
    try:
        return open_packed(packed)
    except (LookupError, ValueError, TypeError) as error:
        raise ImageError(f"{path}: {packed.file.name} holds no such image") from error
    except OSError as error:
        raise ImageError(f"{path}: {packed.file} cannot be read ({error})") from error


def read_image(file: BinaryIO, name: str, max_pixels: int | None = None, scaling: Scaling | None = None) -> Image.Image:
    """The whole image, decoded, as RGB, from an open file that is no DICOM file; see `load_image`.

    Args:
        file: opened for reading bytes.
        name: what errors call the image.
        max_pixels: the largest image that is read; None reads any.
        scaling: as in `load_image`.

    Raises:
        ImageError: it is not an image, breaks off, or is too large.
    """
    return _read(file, name, max_pixels, scaling).convert("RGB")


def _read(file: BinaryIO, name: str, max_pixels: int | None, scaling: Scaling | None) -> Image.Image:
    """As `read_image`, but a grey image stays grey (L)."""
    try:
        with Image.open(file) as image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise ImageError(f"{name}: {image.width} × {image.height} pixels; {max_pixels:,} pixels at most")
            # A JPEG is decoded at a half, a quarter or an eighth if that is no smaller than what is wanted.
            whole = image.size
            is_jpeg = scaling is not None and image.draft(None, scaling.target(whole)) is not None
            image.load()
            orientation = _orientation(image)
            shallow = _to_8_bits(image) if image.mode.startswith(_DEEP_MODES) else image
            upright = _upright(shallow, orientation)
            if not is_jpeg:
                whole = upright.size
            elif orientation in _SIDEWAYS:
                whole = whole[1], whole[0]
            return _as_wanted(upright, scaling, whole)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not an image that can be read; PNG and JPEG can") from error
    except _PILLOW_ERRORS as error:
        raise ImageError(f"{name}: the image cannot be read to its end ({' '.join(str(error).split())})") from error


def check_image(path: str | Path) -> Size:
    """Width and height in pixels, upright. The whole image is decoded: nothing less shows that a file breaks off.

    Raises:
        ImageError: as `load_image`.
    """
    return load_grey_or_rgb(path).size


def _as_wanted(image: Image.Image, scaling: Scaling | None, whole: Size) -> Image.Image:
    """An image, grey (L) or RGB, scaled down to what is wanted of the whole one, of which it may be a reduced form."""
    if image.mode != "L":
        image = image.convert("RGB")
    target = image.size if scaling is None else scaling.target(whole)
    if scaling is not None and target != image.size:
        image = scaling.scaled(image, target)
    return image


def _is_dicom(file: BinaryIO) -> bool:
    head = file.read(132)
    file.seek(0)
    return head[128:] == b"DICM"


def _read_dicom(file: BinaryIO, name: str) -> Image.Image:
    """The film of a DICOM file, grey."""
    from curriculum.importers.parts.dicom_film import FilmError, film_pixels, read_film

    try:
        return Image.fromarray(film_pixels(read_film(file)))
    except FilmError as error:
        raise ImageError(f"{name}: {error}") from error


def _orientation(image: Image.Image) -> object:
    """The EXIF orientation, 1 to 8; something else, or None, if the file has none or its EXIF data are damaged.

    A TIFF that Pillow has turned already has none.
    """
    try:
        return image.getexif().get(Base.Orientation)
    except _EXIF_ERRORS:  # the pixels are whole, and the file says nothing of how they lie
        return None


def _upright(image: Image.Image, orientation: object) -> Image.Image:
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_8_bits(image: Image.Image) -> Image.Image:
    stored = np.asarray(image)
    if stored.dtype.kind == "u" and stored.dtype.itemsize == 2:
        return Image.fromarray(_stretched(stored))
    values = stored.astype(np.float64)
    finite = np.isfinite(values)
    low = values[finite].min() if finite.any() else 0.0
    high = values[finite].max() if finite.any() else 0.0
    scale = 255 / (high - low) if high > low else 0
    scaled = (np.where(finite, values, low) - low) * scale
    return Image.fromarray(scaled.round().astype(np.uint8))


def _stretched(stored: np.ndarray) -> np.ndarray:
    """uint16 pixels as uint8: each of the values between the darkest and the brightest is computed once."""
    low, high = int(stored.min()), int(stored.max())
    scale = 255 / (high - low) if high > low else 0
    table: np.ndarray = (np.arange(high - low + 1) * scale).round().astype(np.uint8)
    return table[stored - low]
