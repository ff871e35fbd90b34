"""Reports without films: a CSV with the columns `id`, `report` (its text) and `labels`.

`labels` are "Effusion|Mass" (or with ";" or "," between them), or "No finding". The CSV may also have `patient_id`
(without it, a report counts as a patient) and `split`. A finding that any row names counts as looked for in every
report. `parts.text_questions` says what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from curriculum.importers.importer import OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.label import Label, listed_findings
from curriculum.importers.parts.text_questions import import_texts
from curriculum.missing import says_nothing
from curriculum.task import NO_FINDING
from curriculum.taskset import TaskSetError

COLUMNS = ("id", "report", "labels")
_NONE = "none"  # a report without findings, as a whole cell
_NO_ID = "without an id"


def import_reports(labels: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet with the questions about the reports' texts.

    Args:
        labels: the CSV.
        out: folder for the task set.
        seed: of the questions and the splits.

    Raises:
        TaskSetError: the CSV cannot be used; see also `text_questions.import_texts`.
    """
    skipped = Skipped()
    reports = list(_read(labels, skipped))
    names = sorted({finding for report in reports for finding in report.findings or ()})
    if len(names) < 2:
        raise TaskSetError(f"{labels}: the column labels names the findings {names}; questions need two or more")
    return import_texts(reports, labels, out, names, seed, skipped)


def _read(path: Path, skipped: Skipped) -> Iterator[Label]:
    for place, row in read_csv(path, COLUMNS, "a table of reports with the columns id, report and labels"):
        if not row["id"]:
            skipped.note(_NO_ID, place)
            continue
        text = " ".join(row["report"].split())
        yield Label(
            place,
            id=row["id"],
            file="",
            patient=row.get("patient_id") or row["id"],
            findings=_findings(row["labels"], place),
            split=row.get("split", ""),
            provenance={"source": path.stem},
            sections={} if says_nothing(text) else {"report": text},
        )


def _findings(cell: str, place: str) -> tuple[str, ...] | None:
    """The findings that a cell lists; None if it is empty, so that nobody looked."""
    if not cell:
        return None
    if cell.casefold() == _NONE:
        return ()
    names = listed_findings(cell, place)
    for name in names:
        if name.casefold() == _NONE or says_nothing(name):
            raise TaskSetError(
                f"{place}: labels {cell!r:.60}; {name!r:.20} is no finding; findings or {NO_FINDING!r} alone are needed"
            )
    return names


REPORTS = Importer(
    "reports",
    "Reports without films: questions about their text, for models that read text only.",
    (Option("labels", "the CSV with the columns id, report and labels", "path"), OUT, SEED),
    import_reports,
)
