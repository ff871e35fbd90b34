"""Importers: they turn the user's own copy of a known data set into a task set. One module for each layout.

`labels/`, `boxes/`, `reports/` and `questions/` hold them by what a set gives; `importer` is what each declares;
`parts/` holds what several share.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curriculum.importers.importer import Importer

IMPORTERS = (
    "labels.nih:NIH",
    "labels.chexpert:CHEXPERT",
    "labels.mimic:MIMIC",
    "labels.padchest:PADCHEST",
    "reports.openi:OPENI",
    "reports.own:OWN",
    "questions.vqa:VQA_RAD",
    "questions.vqa:SLAKE",
    "questions.easyr1:EASYR1",
    "labels.dicom:DICOM",
    "labels.cxr_lt:CXR_LT",
    "boxes.vindr:VINDR",
    "boxes.rsna:RSNA",
    "boxes.siim:SIIM",
    "boxes.ms_cxr:MS_CXR",
    "boxes.padchest_gr:PADCHEST_GR",
    "boxes.imagenome:IMAGENOME",
    "reports.radgraph:RADGRAPH",
    "reports.texts:REPORTS",
    "questions.mimic_vqa:MIMIC_VQA",
    "questions.ehrxqa:EHRXQA",
    "questions.rexvqa:REXVQA",
    "questions.gemex:GEMEX",
)
"""Module and name of every importer, in the order of the command line's help. They are loaded when they are needed, so
that the command line starts quickly."""


def load_importers() -> list[Importer]:
    """The importers that `IMPORTERS` names."""
    importers = []
    for entry in IMPORTERS:
        module, _, name = entry.partition(":")
        importers.append(getattr(import_module(f"{__name__}.{module}"), name))
    return importers
