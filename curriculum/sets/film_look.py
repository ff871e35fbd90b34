"""What a film looks like, in 32 bytes that survive another encoding, size or name: by which films that two sets share
are found.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

SIDE = 16
LOOK_BYTES = SIDE * SIDE // 8
MAX_BITS = 15
"""In which two encodings of a film differ at most. Of 1,611 films of NIH and Cohen, JPEG at quality 60 changed 13 bits,
half the size 12. Different films differed in 18 at least, of 1.3 million pairs; with more, `same_film` decides."""
MIN_CORRELATION = 0.985
"""Of 64 × 64 pixels. Other encodings of those films came to 0.994 at least, different films to 0.967 at most."""
_CHUNKS = 16  # of 16 bits: looks that differ in 15 bits are equal in one of them


def film_look(image: Image.Image) -> bytes:
    """Whether each of 16 × 16 areas of an image is darker than its right neighbour, a bit each (dHash)."""
    grey = np.asarray(image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX), np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes()


def alike(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of looks that differ in MAX_BITS at most: the number of the one and of the other.

    Args:
        first: [films, 32] uint8.
        second: [films, 32] uint8.
    """
    found: set[tuple[int, int]] = set()
    chunks, others = first.view(np.uint16), second.view(np.uint16)
    for chunk in range(_CHUNKS):
        order: np.ndarray = np.argsort(others[:, chunk], kind="stable")
        low, high = (
            np.asarray(np.searchsorted(others[order, chunk], chunks[:, chunk], side)) for side in ("left", "right")
        )
        for number in np.flatnonzero(high > low):
            candidates = order[int(low[number]) : int(high[number])]
            bits = np.bitwise_count(second[candidates] ^ first[number]).sum(axis=1)
            found.update((int(number), int(candidate)) for candidate in candidates[bits <= MAX_BITS])
    yield from sorted(found)


def same_film(first: Image.Image, second: Image.Image) -> bool:
    """Whether two images are of the same film."""
    return float(_small(first) @ _small(second)) >= MIN_CORRELATION


def _small(image: Image.Image) -> np.ndarray:
    grey = np.asarray(image.convert("L").resize((64, 64), Image.Resampling.BOX), np.float64).ravel()
    centred = grey - grey.mean()
    return centred / (np.linalg.norm(centred) + 1e-9)
