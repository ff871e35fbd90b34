"""Boxes on a film, as text: "[x1, y1, x2, y2]" in thousandths of its width and height, at whatever size it is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in thousandths of the image; left < right and top < bottom."""
Edges = tuple[float, float, float, float]
"""Left, top, right, bottom in any unit."""

SCALE = 1000
_BOX = re.compile(r"\[\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})\s*\]")


def write_box(left: float, top: float, right: float, bottom: float, width: float, height: float) -> str:
    """The text of a box given in pixels of a film of `width` by `height`; the part outside the film is cut off.

    Raises:
        ValueError: nothing of the box lies in the film.
    """
    edges = ((left, width), (top, height), (right, width), (bottom, height))
    box = [min(SCALE, max(0, round(SCALE * edge / size))) for edge, size in edges]
    text = str(box)
    read_box(text)
    return text


def read_box(text: str) -> Box:
    """The box of a text that is nothing but a box.

    Raises:
        ValueError: the text is anything else.
    """
    boxes = read_boxes(text)
    if len(boxes) != 1 or not _BOX.fullmatch(text.strip()):
        raise ValueError(
            f"{text!r:.60} is not a box; a box is [left, top, right, bottom] in thousandths of the film, "
            "as [120, 80, 430, 500]"
        )
    return boxes[0]


def read_boxes(text: str) -> list[Box]:
    """The boxes in a text, in order; those that are not valid (an edge beyond 1000, no area) are left out."""
    boxes = []
    for match in _BOX.findall(text):
        left, top, right, bottom = map(int, match)
        if left < right <= SCALE and top < bottom <= SCALE:
            boxes.append((left, top, right, bottom))
    return boxes


def iou(a: Edges, b: Edges) -> float:
    """Intersection over union of two boxes in the same unit."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / (_area(a) + _area(b) - shared)


def mean_iou(answered: Sequence[Box], gold: Sequence[Box]) -> float:
    """IoU summed over pairs of an answered and a gold box, over the larger number of boxes.

    Boxes are paired greedily, the pair with the highest IoU first, each box once. The result is 1 if both are empty; a
    box too many or too few lowers it.
    """
    if not answered and not gold:
        return 1.0
    pairs = []
    for i, box in enumerate(answered):
        for j, gold_box in enumerate(gold):
            pairs.append((iou(box, gold_box), i, j))
    used_answered: set[int] = set()
    used_gold: set[int] = set()
    total = 0.0
    for value, i, j in sorted(pairs, reverse=True):
        if i not in used_answered and j not in used_gold:
            used_answered.add(i)
            used_gold.add(j)
            total += value
    return total / max(len(answered), len(gold))


def _area(box: Edges) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
