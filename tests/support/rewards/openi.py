"""The Open-I reports, from the wheel that brings them (docs/findings.md)."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

GOLD = Path(__file__).parents[3] / "../shared/data/report_labels/openi_dev14.csv"
"""NegBio's labels of the reports, beside the repository."""


@cache
def open_i_sections() -> dict[str, tuple[str, str]] | None:
    """Report to its findings and impression; None if the wheel isn't there."""
    wheel = Path(os.environ.get("OPENI_WHEEL", "missing"))
    if not wheel.exists():
        return None
    archive = io.BytesIO(zipfile.ZipFile(wheel).read("torchxrayvision/data/NLMCXR_reports.tgz"))
    texts: dict[str, tuple[str, str]] = {}
    with tarfile.open(fileobj=archive) as reports:
        for member in reports:
            file = reports.extractfile(member) if member.name.endswith(".xml") else None
            if file is None:
                continue
            parts = {part.get("Label"): part.text or "" for part in ElementTree.parse(file).iter("AbstractText")}
            texts["CXR" + Path(member.name).stem] = (parts["FINDINGS"], parts["IMPRESSION"])
    return texts
