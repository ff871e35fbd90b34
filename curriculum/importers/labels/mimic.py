"""MIMIC-CXR-JPG: films, CheXpert labels, the official splits, and the reports of MIMIC-CXR.

Johnson A. et al., MIMIC-CXR-JPG, https://physionet.org/content/mimic-cxr-jpg/, and MIMIC-CXR (the reports),
https://physionet.org/content/mimic-cxr/. Labels and report belong to a study; each of its films gets them. `chexpert`
explains what a label means. Sex and age are not in these files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option
from curriculum.importers.labels.chexpert import COLUMNS, FINDINGS, read_findings
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.films import import_films, index_images
from curriculum.importers.parts.label import Label
from curriculum.importers.parts.reports import sections
from curriculum.taskset import TaskSetError

PROVENANCE = {
    "source": "mimic-cxr-jpg",
    "licence": "PhysioNet Credentialed Health Data License 1.5.0: credentialed users only",
    "attribution": "Johnson et al., MIMIC-CXR-JPG and MIMIC-CXR, PhysioNet; Scientific Data 2019",
}
_REPORT = re.compile(r"s\d+\.txt")
_VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "Lateral", "LL": "Lateral"}
_SPLITS = {"train": "train", "validate": "val", "test": "test"}


def import_mimic(images: Path, tables: Path, out: Path, seed: int = 0, reports: Path | None = None) -> ImportSummary:
    """Writes `out`/tasks.parquet, with every family of question that labels and reports answer.

    Args:
        images: folder with the films (files/p10/p10000032/s50414267/….jpg), at any depth.
        tables: folder with mimic-cxr-2.0.0-metadata.csv, -split.csv and -chexpert.csv, plain or .gz.
        out: folder for the task set.
        seed: of the questions.
        reports: folder with the reports (files/p10/p10000032/s50414267.txt), at any depth; with None, nothing is asked
            about reports.

    Raises:
        TaskSetError: a table is missing or cannot be used, no report is there; see also `films.import_films`.
    """
    metadata = _table(tables, "metadata")
    labels = _table(tables, "chexpert")
    splits = _table(tables, "split")
    films = _read(metadata, labels, splits, _index_reports(reports))
    return import_films(films, images, splits, out, FINDINGS, seed)


def _table(folder: Path, name: str) -> Path:
    plain = folder / f"mimic-cxr-2.0.0-{name}.csv"
    for path in (plain, folder / f"{plain.name}.gz"):
        if path.is_file():
            return path
    raise TaskSetError(f"{plain}: no such file, nor with .gz; MIMIC-CXR-JPG has it")


def _index_reports(folder: Path | None) -> dict[str, list[str]]:
    if folder is None:
        return {}
    index = index_images(folder, suffixes=(".txt",))
    if any(_REPORT.fullmatch(name) for name in index):
        return index
    raise TaskSetError(
        f"{folder}: no report is below this folder; they are named like files/p10/p10000032/s50414267.txt"
    )


def _read(metadata: Path, labels: Path, splits: Path, reports: dict[str, list[str]]) -> Iterator[Label]:
    findings = {
        row["study_id"]: read_findings(f"{place}, study {row['study_id']}", row)
        for place, row in read_csv(labels, ("study_id", *COLUMNS), "MIMIC-CXR-JPG's table of CheXpert labels")
    }
    split_of = {
        row["dicom_id"]: row["split"]
        for _, row in read_csv(splits, ("dicom_id", "split"), "MIMIC-CXR-JPG's table of splits")
    }
    report_study = ""  # the study of the film before, and its report: a study's films share it
    report: dict[str, str] = {}
    columns = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
    for place, row in read_csv(metadata, columns, "MIMIC-CXR-JPG's metadata"):
        film, study = row["dicom_id"], row["study_id"]
        where = f"{place}, image {film!r}"
        if split_of.get(film) not in _SPLITS:
            raise TaskSetError(
                f"{where}: its split in {splits} is {split_of.get(film)!r}; it is one of {', '.join(_SPLITS)}"
            )
        try:
            order = float(row["StudyDate"]) + float(row["StudyTime"]) / 1e6  # YYYYMMDD and HHMMSS
        except ValueError as error:
            raise TaskSetError(
                f"{where}: StudyDate {row['StudyDate']!r} and StudyTime {row['StudyTime']!r} must be "
                "numbers, as 21800506 and 213014.531"
            ) from error
        if report_study != study:
            report_study = study
            report = _read_report(reports.get(f"s{study}.txt"))
        present, unsure = findings.get(study, (None, ()))
        yield Label(
            where,
            id=film,
            file=f"{film}.jpg",
            patient=f"p{row['subject_id']}",
            findings=present,
            unsure=unsure,
            split=_SPLITS[split_of[film]],
            provenance=PROVENANCE | {"view": _VIEWS.get(row["ViewPosition"], "")},
            indication=report.get("indication", ""),
            sections={name: report[name] for name in ("findings", "impression") if name in report},
            order=order,
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
    ),
    import_mimic,
)
