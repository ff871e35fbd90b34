"""Splitting the text of a radiology report into its sections."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import lru_cache

from curriculum.missing import says_nothing, valid_text

_NAMES = {
    "findings": "findings",
    "finding": "findings",
    "reference findings": "findings",
    "radiographic findings": "findings",
    "chest findings": "findings",
    "impression": "impression",
    "impressions": "impression",
    "conclusion": "impression",
    "conclusions": "impression",
    "opinion": "impression",
    "summary": "impression",
    "final impression": "impression",
    "diagnostic impression": "impression",
    "impression and plan": "impression",
    "impression and recommendation": "impression",
    "impression and recommendations": "impression",
    "interpretation": "impression",
    "findings and impression": "impression",
    "findings/impression": "impression",
    "findings & impression": "impression",
    "impression/findings": "impression",
    "impression and findings": "impression",
    "indication": "indication",
    "indications": "indication",
    "clinical indication": "indication",
    "clinical indications": "indication",
    "reason for exam": "indication",
    "reason for examination": "indication",
    "reason for study": "indication",
    "history": "indication",
    "clinical history": "indication",
    "patient history": "indication",
    "clinical information": "indication",
    "comparison": "comparison",
    "comparisons": "comparison",
    "technique": "technique",
    "procedure": "procedure",
    "examination": "examination",
    "exam": "examination",
    "study": "examination",
    "recommendation": "recommendation",
    "recommendations": "recommendation",
    "notification": "notification",
    "addendum": "addendum",
    "wet read": "wet read",
}
"""Names of a section, to its usual one. Merged sections count as the impression, as in MIT-LCP/mimic-cxr."""

_PARTS = {
    *("lungs", "lung", "heart", "pleura", "mediastinum", "bones", "bone", "osseous structures", "soft tissues"),
    *("lines and tubes", "tubes and lines", "lines/tubes", "airways", "airway", "cardiomediastinal silhouette"),
    *("heart and mediastinum", "cardiac silhouette", "hila", "diaphragm", "upper abdomen", "abdomen", "pleural spaces"),
    *("chest wall", "support devices", "devices", "lungs and pleura", "other", "note", "musculoskeletal", "trachea"),
}
"""Headings inside the findings: what follows them belongs to the section that they are in."""

_IN_SMALL_LETTERS = {"findings", "impression", "conclusion", "findings/impression", "findings and impression"}
_MISSPELT_FROM = 7  # letters; a shorter word is too near to others
_LIKENESS = 0.84  # of a misspelt name to the right one, by difflib
_LONGEST = 60  # characters of a heading

_HEADING = re.compile(
    r"(?:^|(?<=[.!?)\]])[ \t]+)[ \t>#*_]*"
    r"(?P<name>[A-Za-z][A-Za-z0-9 ,/()&_-]{0,59}?)[ \t*_]*"
    r"(?:(?P<colon>[:：])[*_]*|(?P<dash>[ \t]*[-–—=]+(?=\s))|(?P<end>(?=[ \t]*$)))",
    re.MULTILINE,
)
_START = re.compile(r"^[ \t]*FINAL REPORT\b", re.MULTILINE)


def sections(text: str) -> dict[str, str]:
    """The sections of a report by name in lower case, each as one line; "" holds the text before the first heading.

    A heading is written in capitals at the start of a line and ends with a colon. The usual names of the findings,
    impression, indication and a few more (`_NAMES`) are headings in other forms too: in any case, misspelt, with a
    blank before the colon, with a dash, alone on a line, or in capitals after the end of a sentence. Text above a line
    FINAL REPORT (an addendum, a wet read) is left out; sections of one name are joined; one without a letter, or with
    nothing but marks of what was taken out (XXXX, ___), is left out. Other marks of de-identification stay.
    """
    bodies_of: dict[str, list[str]] = {}
    for name, body in _pieces(_START.split(valid_text(text), maxsplit=1)[-1]):
        if any(character.isalpha() for character in body) and not says_nothing(body):
            bodies_of.setdefault(name, []).append(" ".join(body.split()))
    return {name: " ".join(bodies) for name, bodies in bodies_of.items()}


def section_name(heading: str) -> str:
    """The usual name of a heading, in lower case."""
    name = " ".join(heading.lower().replace("_", " ").split()).strip(" -:")
    name = re.sub(r" ?/ ?", "/", name)
    return _usual_name(name) or name


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """The name and the body of each section, in order."""
    name = ""
    start = 0
    for match in _HEADING.finditer(text):
        found = _section_of(match, text)
        if found is not None:
            yield name, text[start : match.start()]
            name, start = found, match.end()
    yield name, text[start:]


def _section_of(match: re.Match[str], text: str) -> str | None:
    """The section that a heading begins; None if it is no heading."""
    heading = match["name"].strip()
    capitals = heading.isupper()
    name = section_name(heading)
    known = _usual_name(name)
    begins_line = match.start() == 0 or text[match.start() - 1] == "\n"
    if name in _PARTS:
        return None
    if begins_line and capitals and match["colon"] and text[match.end() : match.end() + 1].strip() == "":
        return name
    if known is None or not (capitals or begins_line):
        return None
    if heading[0].islower() and (name not in _IN_SMALL_LETTERS or not match["colon"]):
        return None  # a sentence goes on in this line
    return known if match["colon"] or (begins_line and (capitals or match["end"] is not None)) else None


@lru_cache(maxsize=4096)
def _usual_name(name: str) -> str | None:
    """The usual name of a section, also of a misspelt one; None if it has none."""
    if name in _NAMES:
        return _NAMES[name]
    if name in _PARTS or not _MISSPELT_FROM <= len(name) <= _LONGEST:
        return None
    near = difflib.get_close_matches(name, _NAMES, 1, _LIKENESS)
    return _NAMES[near[0]] if near and near[0][0] == name[0] else None
