"""Boxes on which several readers agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curriculum.boxes import iou
from curriculum.importers.parts.label import Box

_OVERLAP = 0.4  # intersection over union of two readers' boxes of one thing


def agreed_boxes(marked: Sequence[tuple[str, Box]], readers: int) -> list[Box]:
    """The boxes of one finding that more than half of the readers drew, each the mean of theirs.

    A box joins the group whose mean it overlaps most, if its reader is not in the group yet; else it begins one.

    Args:
        marked: reader and box, in the order of the file.
        readers: how many read the film, those that drew nothing among them.
    """
    groups: list[dict[str, Box]] = []
    for reader, box in marked:
        open_groups = [group for group in groups if reader not in group]
        best = max(open_groups, key=lambda group: iou(_mean(group)[1:], box[1:]), default=None)
        if best is not None and iou(_mean(best)[1:], box[1:]) >= _OVERLAP:
            best[reader] = box
        else:
            groups.append({reader: box})
    return [_mean(group) for group in groups if 2 * len(group) > readers]


def _mean(group: dict[str, Box]) -> Box:
    boxes = list(group.values())
    left, top, right, bottom = np.mean([box[1:] for box in boxes], axis=0).tolist()
    return boxes[0][0], left, top, right, bottom
