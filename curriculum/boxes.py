"""Boxes on a film, as text: "[x1, y1, x2, y2]" in thousandths of its width and height, whatever its size is resized to."""

from __future__ import annotations

import re
from collections.abc import Sequence

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in thousandths of the image; left < right and top < bottom."""

SCALE = 1000
_BOX = re.compile(r"\[\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})\s*\]")


def write_box(left: float, top: float, right: float, bottom: float, width: float, height: float) -> str:
    """The text of a box that is given in pixels of a film of `width` by `height`; what lies outside is cut off.

    Raises:
        ValueError: nothing of the box lies in the film.
    """
    box = tuple(
        min(SCALE, max(0, round(SCALE * edge / size)))
        for edge, size in ((left, width), (top, height), (right, width), (bottom, height))
    )
    text = str(list(box))
    read_box(text)
    return text


def read_box(text: str) -> Box:
    """The box of a text that is nothing but a box.

    Raises:
        ValueError: it is none.
    """
    boxes = read_boxes(text)
    if len(boxes) != 1 or not _BOX.fullmatch(text.strip()):
        raise ValueError(
            f"{text!r:.60} is no box; one is [left, top, right, bottom] in thousandths of the film, "
            "as [120, 80, 430, 500]"
        )
    return boxes[0]


def read_boxes(text: str) -> list[Box]:
    """The boxes that stand in a text, in order; what is none (an edge beyond 1000, nothing inside) is left out."""
    found = (tuple(map(int, match)) for match in _BOX.findall(text))
    return [(l, t, r, b) for l, t, r, b in found if l < r <= SCALE and t < b <= SCALE]


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / (_area(a) + _area(b) - shared)


def mean_iou(found: Sequence[Box], gold: Sequence[Box]) -> float:
    """IoU summed over pairs of a found and a gold box, closest pair first, each box once; over the larger number of boxes.

    1 where both are empty; a box too many or too few lowers it.
    """
    pairs = sorted(((iou(f, g), i, j) for i, f in enumerate(found) for j, g in enumerate(gold)), reverse=True)
    used_found, used_gold, total = set(), set(), 0.0
    for value, i, j in pairs:
        if i not in used_found and j not in used_gold:
            used_found.add(i)
            used_gold.add(j)
            total += value
    return total / max(len(found), len(gold)) if found or gold else 1.0


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
