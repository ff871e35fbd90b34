"""Images decoded to their end, one after the other. Needs nothing that is slow to import: `cores` does it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from curriculum.images import ImageError, load_grey_or_rgb
from curriculum.sets.film_look import film_look
from curriculum.sets.stamp import Stamp, stamp_of

if TYPE_CHECKING:
    from curriculum.taskset import Size


class Decoded(NamedTuple):
    """An image that was decoded to its end.

    Attributes:
        stamp: of its file, taken before.
        size: width and height in pixels.
        look: as of `film_look`.
    """

    stamp: Stamp | None
    size: Size
    look: bytes


def decode_images(images: Sequence[str]) -> list[Decoded | str]:
    """Each of some images decoded to its end, or what is wrong with it."""
    return [_decode(image) for image in images]


def _decode(image: str) -> Decoded | str:
    stamp = stamp_of(image)
    try:
        decoded = load_grey_or_rgb(image)
    except ImageError as error:
        return str(error)
    return Decoded(stamp, decoded.size, film_look(decoded))
