"""Headings of groups in a list of findings: "Present: edema, mass. Absent: effusion"; and remarks that name nothing."""

from __future__ import annotations

import re
from typing import Literal

from rewards.findings.extract import extract

Group = Literal["present", "absent", "uncertain"]

_NOUN = r"(?:\s+(?:findings?|diagnos[ie]s|abnormalit(?:y|ies)|conditions?|labels?|on\s+(?:this|the)\s+\w+))?"
_HEADINGS: tuple[tuple[Group, re.Pattern[str]], ...] = (
    (
        "absent",
        re.compile(
            r"(?:(?:pertinent\s+|relevant\s+)?negatives?|absent|not\s+(?:present|seen|found|detected|identified)|"
            r"ruled\s+out|excluded|normal|denied|no\s+evidence\s+of|no\s+signs?\s+of)" + _NOUN + r"\s*:",
            re.IGNORECASE,
        ),
    ),
    (
        "uncertain",
        re.compile(
            r"(?:possible|uncertain|equivocal|questionable|suspected|indeterminate|differential|considerations?)"
            + _NOUN
            + r"\s*:",
            re.IGNORECASE,
        ),
    ),
    (
        "present",
        re.compile(
            r"(?:(?:pertinent\s+)?positives?|present|detected|identified|seen|observed|abnormal|primary|secondary|main|"
            r"other|additional|incidental|associated|findings?|impressions?|diagnos[ie]s|abnormalit(?:y|ies))"
            + _NOUN
            + r"\s*:",
            re.IGNORECASE,
        ),
    ),
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|suggests?|indicates?|recommend(?:ed|s)?|requires?|correlate|advised|should|may|please|"
    r"shows?|supports?|explains?|based|appears?|remains?|consistent|suggesting|indicating)\b",
    re.IGNORECASE,
)
_ADVICE = re.compile(
    r"(?:recommend|suggest|consider|correlate|advise|follow[ -]?up|please|further)\w*\b", re.IGNORECASE
)
_CAUSE = re.compile(
    r"(?:(?:most\s+)?likely\s+|probably\s+|possibly\s+|presumably\s+)?"
    r"(?:due|secondary|related|suggest|consistent|compatible|caused|indicat|reflect|attribut)\w*\s",
    re.IGNORECASE,
)
_FEWEST_WORDS = 4


def heading_of(text: str) -> tuple[Group, str] | None:
    """The group whose heading a text begins with, and the rest of the text; None if there is no heading."""
    for group, pattern in _HEADINGS:
        match = pattern.match(text)
        if match:
            return group, text[match.end() :]
    return None


def is_remark(name: str) -> bool:
    """Whether words are a sentence that names no finding: "Clinical correlation is recommended"."""
    is_sentence = len(name.split()) >= _FEWEST_WORDS and _VERB.search(name) is not None
    if not is_sentence and not (" " in name and (_ADVICE.match(name) or _CAUSE.match(name))):
        return False
    return not extract(name).mentions
