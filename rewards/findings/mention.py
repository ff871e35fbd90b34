"""What a text says of one finding."""

from __future__ import annotations

from typing import Literal, NamedTuple

Status = Literal["present", "absent", "uncertain"]
Side = Literal["", "left", "right", "bilateral"]
Severity = Literal["", "mild", "moderate", "severe"]


class Mention(NamedTuple):
    """One finding as a text mentions it.

    Attributes:
        finding: the canonical name.
        status: what the text says of it.
        side: the side of the body if the text gives one.
        severity: how much of it there is ("trace" and "small" are mild, "large" and "extensive" severe), else "".
        place: "upper", "middle", "lower", "apical", "basal", "hilar", "retrocardiac" or "lingular", else "".
    """

    finding: str
    status: Status
    side: Side = ""
    severity: Severity = ""
    place: str = ""
