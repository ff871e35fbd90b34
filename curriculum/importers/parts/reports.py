"""Splitting the text of a radiology report into its sections."""

from __future__ import annotations

import re

_NAMES = {
    "finding": "findings",
    "reference findings": "findings",
    "conclusion": "impression",
    "findings and impression": "impression",
    "findings/impression": "impression",
    "clinical indication": "indication",
    "reason for exam": "indication",
    "reason for examination": "indication",
    "history": "indication",
    "clinical history": "indication",
    "patient history": "indication",
    "clinical information": "indication",
}
"""Other names of a section, to its usual one. Merged sections count as the impression, as in MIT-LCP/mimic-cxr."""

_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z0-9 ,/()&_-]*):(?=\s|$)", re.MULTILINE)
_START = re.compile(r"^[ \t]*FINAL REPORT\b", re.MULTILINE)


def sections(text: str) -> dict[str, str]:
    """The sections of a report by name in lower case, each as one line; "" holds the text before the first heading.

    A heading is written in capitals at the start of a line and ends with a colon. Usual other names of the findings,
    impression and indication count as these. Text above a line FINAL REPORT (an addendum, a wet read) is left out;
    sections of one name are joined; one without a letter is left out. Marks of de-identification (___) stay.
    """
    pieces = _HEADING.split(_START.split(text, maxsplit=1)[-1])
    bodies_of: dict[str, list[str]] = {}
    for heading, body in zip(["", *pieces[1::2]], pieces[::2], strict=True):
        name = " ".join(heading.lower().split())
        if any(character.isalpha() for character in body):
            bodies_of.setdefault(_NAMES.get(name, name), []).append(" ".join(body.split()))
    return {name: " ".join(bodies) for name, bodies in bodies_of.items()}
