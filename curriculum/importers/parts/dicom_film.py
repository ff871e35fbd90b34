"""Reading one DICOM film: its header, and its pixels as the standard displays them (PS3.3 C.7.6.3, C.11.1, C.11.2).

Padding apart, the steps are: modality LUT or rescale, then the first VOI LUT or window, MONOCHROME1 inverted, 8 bits. A
film without a window is stretched from its darkest to its brightest value. Headers of real films break the standard in
a few usual ways; what they mean nevertheless is read here, and everything else is a `FilmError`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

_GREY = ("MONOCHROME1", "MONOCHROME2")
_FIRST_GROUPS = (b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08")
_DEFAULTS = {"SamplesPerPixel": 1, "PixelRepresentation": 0}


class FilmError(ValueError):
    """A DICOM file is no film that can be read. One line: what is wrong; the file is named by who catches it."""


def read_film(path: str | Path | BinaryIO) -> Dataset:
    """The header of a DICOM film, with its pixels not yet decoded.

    A file without the preamble, or without the name of its transfer syntax, is read in the encoding that its elements
    show; a file that is open already must have the preamble.

    Raises:
        FilmError: it is no DICOM file, or it has no pixels, no SOPInstanceUID or no PhotometricInterpretation.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    with _refused("no DICOM file that can be read"):
        try:
            header = dcmread(path)
        except InvalidDicomError:
            if not isinstance(path, str | Path) or not _begins_with_an_element(path):
                raise FilmError("no DICOM file") from None
            header = dcmread(path, force=True)
        _complete(header)
        for name in ("SOPInstanceUID", "PixelData", "PhotometricInterpretation"):
            if name not in header or not header[name].value:
                raise FilmError(f"it has no {name}; a DICOM image is needed")
        return header


def read_uid(path: str | Path) -> str:
    """The SOPInstanceUID of a DICOM file; "" if it has none.

    Raises:
        FilmError: it is no DICOM file that can be read.
    """
    from pydicom import dcmread

    with _refused("no DICOM file that can be read"):
        forced = _begins_with_an_element(path)
        return element_text(dcmread(path, True, force=forced, specific_tags=["SOPInstanceUID"]), "SOPInstanceUID")


def element_text(header: Dataset, name: str) -> str:
    """An element of a header as text without blanks around it; "" if it is missing.

    Raises:
        FilmError: its bytes cannot be read.
    """
    with _refused(f"{name} cannot be read"):
        value = header.get(name)
        return "" if value is None else str(value).strip()


def reason_to_skip(header: Dataset) -> str | None:
    """Why a film is left out; None if it is used. The text ends the line "skipped 3 films …".

    Raises:
        FilmError: NumberOfFrames is not a number.
    """
    if element_text(header, "BurnedInAnnotation").upper() == "YES":
        return "with text burnt into their pixels (BurnedInAnnotation)"
    grey = element_text(header, "PhotometricInterpretation").upper() in _GREY
    if not grey or _number(header, "SamplesPerPixel", 1) != 1:
        return "whose pixels are in colour"
    frames = _number(header, "NumberOfFrames", 1)
    return "of several frames" if frames > 1 else None


def film_pixels(header: Dataset) -> np.ndarray:
    """The film as it is displayed, of shape (rows, columns), 0 black to 255 white; padding is black.

    Raises:
        FilmError: the pixels cannot be decoded.
    """
    with _refused("the pixels cannot be read", _decoder_advice(header)):
        stored = header.pixel_array
        if stored.ndim != 2 or not stored.size:
            raise FilmError(f"its pixels have the shape {stored.shape}; rows and columns are needed")
        padding = _padding(header, stored)
        # What is displayed of a value does not depend on its place: it is computed once for each value that occurs.
        levels, level_of = _levels(stored)
        occurs = _which_occur(levels, level_of)
        of_film = _which_occur(levels, level_of[~padding]) if padding.any() else occurs
        grey = _displayed(header, _modality(header, levels[occurs]), ~of_film[occurs])
        if element_text(header, "PhotometricInterpretation").upper() == "MONOCHROME1":
            grey = 1 - grey
        shown: np.ndarray = np.zeros(len(levels), np.uint8)
        shown[occurs] = (grey * 255).round()
        film = shown[level_of]
        film[padding] = 0
        return film


def _levels(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values that pixels may have, and the index among them of each pixel's."""
    if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
        bits = 8 * stored.dtype.itemsize
        unsigned: np.dtype[Any] = np.dtype(f"u{stored.dtype.itemsize}").newbyteorder(stored.dtype.byteorder)
        return np.arange(2**bits).astype(unsigned).view(stored.dtype), stored.view(unsigned)
    levels, level_of = np.unique(stored, return_inverse=True)
    return levels, level_of.reshape(stored.shape)


def _which_occur(levels: np.ndarray, level_of: np.ndarray) -> np.ndarray:
    occurs: np.ndarray = np.zeros(len(levels), bool)
    occurs[level_of] = True
    return occurs


@contextmanager
def _refused(fault: str, advice: str = "") -> Iterator[None]:
    """Any error of pydicom or a decoder inside, whose kinds are not bounded, is a FilmError in one line."""
    try:
        yield
    except FilmError:
        raise
    except Exception as error:
        raise FilmError(f"{fault}: {_line(error)}{advice}") from error


def _begins_with_an_element(path: str | Path) -> bool:
    """Whether a file begins as a data set without preamble does: with an element of group 0002 or 0008."""
    with open(path, "rb") as file:
        return file.read(2) in _FIRST_GROUPS


def _complete(header: Dataset) -> None:
    """Fills in what films leave out and their other elements imply."""
    from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    for name, value in _DEFAULTS.items():
        if header.get(name) in (None, ""):
            setattr(header, name, value)
    if not header.get("SOPInstanceUID") and header.file_meta.get("MediaStorageSOPInstanceUID"):
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID
    if not header.file_meta.get("TransferSyntaxUID"):
        implicit, little = header.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    syntax = header.file_meta.TransferSyntaxUID
    if not isinstance(syntax, UID):
        raise FilmError(f"its TransferSyntaxUID is {syntax!s:.60}; one UID is needed")


def _padding(header: Dataset, stored: np.ndarray) -> np.ndarray:
    """Which pixels are padding (PS3.3 C.7.5.1.1.2); none if that were all of them."""
    value = _optional_number(header, "PixelPaddingValue")
    nothing = np.zeros(stored.shape, bool)
    if value is None or stored.dtype.kind not in "iu":
        return nothing
    limit = _optional_number(header, "PixelPaddingRangeLimit")
    first = _as_stored(value, stored.dtype)
    low, high = sorted((first, first if limit is None else _as_stored(limit, stored.dtype)))
    values = _all_bits(header, stored)
    padding = (values >= low) & (values <= high)
    return nothing if padding.all() else padding


def _all_bits(header: Dataset, stored: np.ndarray) -> np.ndarray:
    """The pixels with all the bits that are allocated, as far as the file holds them so; padding may use them."""
    syntax = header.file_meta.TransferSyntaxUID
    bits = 8 * stored.dtype.itemsize
    plain = not syntax.is_compressed and header.BitsAllocated == bits and len(header.PixelData) >= stored.nbytes
    if not plain or header.BitsStored == bits:
        return stored
    dtype = stored.dtype.newbyteorder("<" if syntax.is_little_endian else ">")
    return np.frombuffer(header.PixelData, dtype, stored.size).reshape(stored.shape)


def _as_stored(value: float, dtype: np.dtype[Any]) -> int:
    """A value in the type of the pixels: -2000 may be written as 63536, and 63536 as -2000."""
    bits = 8 * dtype.itemsize
    wrapped = int(value) % 2**bits
    return wrapped - 2**bits if dtype.kind == "i" and wrapped >= 2 ** (bits - 1) else wrapped


def _modality(header: Dataset, stored: np.ndarray) -> np.ndarray:
    """The stored values after the modality LUT, or the rescale; a rescale that maps all values to one is ignored."""
    table = _lut(header, "ModalityLUTSequence", stored)
    if table is not None:
        return table
    slope = _optional_number(header, "RescaleSlope")
    intercept = _optional_number(header, "RescaleIntercept") or 0.0
    return stored.astype(np.float64) * (slope or 1.0) + intercept


def _displayed(header: Dataset, values: np.ndarray, padding: np.ndarray) -> np.ndarray:
    """The film from 0 to 1: by the VOI LUT or window; without one that shows something, from darkest to brightest."""
    film = values[~padding]
    table = _lut(header, "VOILUTSequence", values)
    if table is not None:
        shown = table / max(1, 2 ** math.ceil(math.log2(_top(header) + 1)) - 1)
        if _shows_something(shown[~padding], film):
            return np.clip(shown, 0, 1)
    window = _window(header)
    if window is not None:
        center, width = window
        shown = _windowed(values, center, width, element_text(header, "VOILUTFunction").upper())
        if _shows_something(shown[~padding], film):
            return shown
    low, high = film.min(), film.max()
    return np.clip((values - low) / (high - low or 1), 0, 1)


def _shows_something(shown: np.ndarray, film: np.ndarray) -> bool:
    """Whether a display is not one flat grey, or the film itself is flat."""
    return bool(shown.min() < shown.max() or film.min() == film.max())


def _window(header: Dataset) -> tuple[float, float] | None:
    """Centre and width of the first window; None if there is none, or its width is 0 or less."""
    center = _optional_number(header, "WindowCenter")
    width = _optional_number(header, "WindowWidth")
    if center is None or width is None or width <= 0:
        return None
    return center, width


def _windowed(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """The values after a window, 0 to 1 (PS3.3 C.11.2.1.2 and C.11.2.1.3); LINEAR needs a width of 1 at least."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if function == "LINEAR_EXACT" or width < 1:
        return np.clip((values - center) / width + 0.5, 0, 1)
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def _top(header: Dataset) -> int:
    """The largest entry of the VOI LUT. LUTs are declared deeper, or less deep, than their entries are."""
    item = header.VOILUTSequence[0]
    return int(_entries(item, int(_descriptor(item)[0]) % 65536 or 65536, header).max())


def _lut(header: Dataset, name: str, values: np.ndarray) -> np.ndarray | None:
    """The values after the first LUT of a sequence (PS3.3 C.11.1.1.1); None if the film has none with entries."""
    sequence = header.get(name)
    if not sequence or not sequence[0].get("LUTData"):
        return None
    item = sequence[0]
    entries, first = (int(number) for number in _descriptor(item)[:2])
    table = _entries(item, entries % 65536 or 65536, header)
    # The descriptor's signedness may not be that of the values.
    if first > 32767 and values.min() < 0:
        first -= 65536
    elif first < 0 and values.min() >= 0 and values.max() > 32767:
        first += 65536
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    return table[index].astype(np.float64)


def _descriptor(item: Dataset) -> list[Any]:
    """Number of entries, first value, bits of an entry; some films hold the three as bytes."""
    descriptor = item.get("LUTDescriptor")
    if isinstance(descriptor, bytes):
        descriptor = np.frombuffer(descriptor, "<u2").tolist()
    if descriptor is None or len(descriptor) != 3:
        raise FilmError(f"the LUTDescriptor is {descriptor!r:.40}; three numbers are needed")
    return list(descriptor)


def _entries(item: Dataset, count: int, header: Dataset) -> np.ndarray:
    """The entries of a LUT as whole numbers; two entries of 8 bits may share a word."""
    data = item.LUTData
    if not isinstance(data, bytes):
        data = np.atleast_1d(np.asarray(data, np.int64)) % 65536
        if len(data) * 2 in (count, count + 1):
            data = data.astype("<u2").view(np.uint8).astype(np.int64)
        return data[:count]
    if len(data) in (count, count + 1):
        return np.frombuffer(data, np.uint8)[:count].astype(np.int64)
    little = header.original_encoding[1] is not False
    return np.frombuffer(data[: len(data) // 2 * 2], "<u2" if little else ">u2")[:count].astype(np.int64)


def _number(header: Dataset, name: str, default: float) -> float:
    value = _optional_number(header, name)
    return default if value is None else value


def _optional_number(header: Dataset, name: str) -> float | None:
    """The first value of an element as a number; None if it is missing, empty or not finite.

    Raises:
        FilmError: it is something else.
    """
    with _refused(f"{name} is no number"):
        value = header.get(name)
        if isinstance(value, bytes):  # an element of unknown type (UN)
            value = int.from_bytes(value[:2], "little") if value else None
        elif value is not None and not isinstance(value, str | int | float):
            value = value[0] if len(value) else None
        if value is None or str(value).strip() == "":
            return None
        number = float(value)
        return number if math.isfinite(number) else None


def _decoder_advice(header: Dataset) -> str:
    syntax = header.file_meta.get("TransferSyntaxUID")
    if not syntax or not syntax.is_transfer_syntax or syntax.is_private or not syntax.is_compressed:
        return ""
    return f"; compressed as {syntax.name} ({syntax}), pip install 'curlvpr[dicom]' reads more kinds"


def _line(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0].rstrip(":")
    return " ".join(first.split()) or type(error).__name__
