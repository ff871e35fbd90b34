"""MIMIC-CXR-JPG: films, CheXpert labels, the official splits, and the reports of MIMIC-CXR.

Johnson A. et al., MIMIC-CXR-JPG, https://physionet.org/content/mimic-cxr-jpg/, and MIMIC-CXR (the reports),
https://physionet.org/content/mimic-cxr/. Labels and report belong to a study; each of its films gets them. What a label
means is told in `chexpert`. Sex and age are not in these files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from curriculum.importers.chexpert import COLUMNS, FINDINGS, read_findings
from curriculum.importers.files import read_csv
from curriculum.importers.films import ImportSummary, Label, import_films, index_images
from curriculum.importers.reports import sections
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
        reports: folder with the reports (files/p10/p10000032/s50414267.txt), at any depth; None asks nothing about them.

    Raises:
        TaskSetError: a table is missing or cannot be used, no report is there; see also `films.import_films`.
    """
    metadata, labels, splits = (_table(tables, name) for name in ("metadata", "chexpert", "split"))
    return import_films(_read(metadata, labels, splits, _index_reports(reports)), images, splits, out, FINDINGS, seed)


def _table(folder: Path, name: str) -> Path:
    paths = [folder / f"mimic-cxr-2.0.0-{name}.csv{suffix}" for suffix in ("", ".gz")]
    if found := [path for path in paths if path.is_file()]:
        return found[0]
    raise TaskSetError(f"{paths[0]}: no such file, nor with .gz; MIMIC-CXR-JPG has it")


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
    read: tuple[str, dict[str, str]] = ("", {})  # the newest study and its report, which the study's films share
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
        if read[0] != study:
            read = study, _report(reports.get(f"s{study}.txt"))
        view = _VIEWS.get(row["ViewPosition"], "")
        present, unsure = findings.get(study, (None, ()))
        yield Label(
            where,
            film,
            f"{film}.jpg",
            f"p{row['subject_id']}",
            present,
            unsure,
            _SPLITS[split_of[film]],
            PROVENANCE | {"view": view},
            indication=read[1].get("indication", ""),
            sections={name: read[1][name] for name in ("findings", "impression") if name in read[1]},
            order=order,
        )


def _report(paths: list[str] | None) -> dict[str, str]:
    return sections(Path(paths[0]).read_text(encoding="utf-8", errors="replace")) if paths else {}
