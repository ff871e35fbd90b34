"""MIMIC-CXR-JPG: films, CheXpert labels, the official splits, and the reports of MIMIC-CXR.

Johnson A. et al., MIMIC-CXR-JPG, https://physionet.org/content/mimic-cxr-jpg/, and MIMIC-CXR (the reports),
https://physionet.org/content/mimic-cxr/. Labels and report belong to a study; each of its films gets them. `chexpert`
explains what a label means. Sex and age are not in these files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from curriculum.importers.importer import IMAGES, OUT, SEED, UNCERTAIN, Importer, ImportSummary, Option
from curriculum.importers.labels.chexpert import COLUMNS, FINDINGS, Findings, read_findings
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.films import import_films, index_images
from curriculum.importers.parts.label import Label
from curriculum.importers.parts.mimic_films import LICENCE, find_table, read_mimic_films
from curriculum.importers.parts.reports import sections
from curriculum.taskset import TaskSetError

PROVENANCE = {
    "source": "mimic-cxr-jpg",
    "licence": LICENCE,
    "attribution": "Johnson et al., MIMIC-CXR-JPG and MIMIC-CXR, PhysioNet; Scientific Data 2019",
}
_REPORT = re.compile(r"s\d+\.txt")


def import_mimic(
    images: Path, tables: Path, out: Path, seed: int = 0, reports: Path | None = None, uncertain: bool = False
) -> ImportSummary:
    """Writes `out`/tasks.parquet, with every family of question that labels and reports answer.

    Args:
        images: folder with the films (files/p10/p10000032/s50414267/….jpg), at any depth.
        tables: folder with mimic-cxr-2.0.0-metadata.csv, -split.csv and -chexpert.csv, plain or .gz.
        out: folder for the task set.
        seed: of the questions.
        reports: folder with the reports (files/p10/p10000032/s50414267.txt), at any depth; with None, nothing is asked
            about reports.
        uncertain: whether to ask about uncertain labels.

    Raises:
        TaskSetError: a table is missing or cannot be used, no report is there; see also `films.import_films`.
    """
    find_table(tables, "metadata")  # is missing first of all if the folder is the wrong one
    labels = find_table(tables, "chexpert")
    films = _read(tables, labels, _index_reports(reports))
    return import_films(films, images, find_table(tables, "split"), out, FINDINGS, seed, uncertain=uncertain)


def _index_reports(folder: Path | None) -> dict[str, list[str]]:
    if folder is None:
        return {}
    index = index_images(folder, suffixes=(".txt",))
    if any(_REPORT.fullmatch(name) for name in index):
        return index
    raise TaskSetError(
        f"{folder}: no report is below this folder; they are named like files/p10/p10000032/s50414267.txt"
    )


def _read(tables: Path, labels: Path, reports: dict[str, list[str]]) -> Iterator[Label]:
    findings_of = {
        row["study_id"]: read_findings(f"{place}, study {row['study_id']}", row)
        for place, row in read_csv(labels, ("study_id", *COLUMNS), "MIMIC-CXR-JPG's table of CheXpert labels")
    }
    report_study = ""  # the study of the film before, and its report: a study's films share it
    report: dict[str, str] = {}
    for film in read_mimic_films(tables):
        if report_study != film.study:
            report_study = film.study
            report = _read_report(reports.get(f"s{film.study}.txt"))
        findings = findings_of.get(film.study, Findings())
        yield Label(
            film.where,
            id=film.id,
            file=f"{film.id}.jpg",
            patient=film.patient,
            findings=findings.present,
            unsure=findings.unsure,
            denied=findings.denied,
            split=film.split,
            provenance=PROVENANCE | {"view": film.view},
            indication=report.get("indication", ""),
            sections={name: report[name] for name in ("findings", "impression") if name in report},
            order=film.order,
        )


def _read_report(paths: list[str] | None) -> dict[str, str]:
    """The sections of a study's report; none if it has no report."""
    if not paths:
        return {}
    return sections(Path(paths[0]).read_text(encoding="utf-8", errors="replace"))


MIMIC = Importer(
    "mimic",
    "MIMIC-CXR-JPG: questions on findings, view, progression and, with reports, their sections.",
    (
        IMAGES,
        Option("tables", "folder with mimic-cxr-2.0.0-metadata, -split and -chexpert .csv(.gz)", "path"),
        OUT,
        Option("reports", "folder with the reports of MIMIC-CXR, at any depth", "path", required=False),
        SEED,
        UNCERTAIN,
    ),
    import_mimic,
)
