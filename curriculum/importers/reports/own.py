"""Your own films and reports: a table with a row for each film, or for each study of several films.

The table is a CSV, or JSON as R2Gen (https://github.com/cuhksz-nlp/R2Gen) and what follows it write for IU X-Ray and
MIMIC-CXR: an object of "train", "val" and "test", each a list of objects with `id`, `report`, `image_path` (a list), or
a list of such objects, or one a line (.jsonl). A report is one text, divided by its headings, or comes in parts.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.films import import_films, index_images, path_key
from curriculum.importers.parts.label import Label, listed_findings, read_age
from curriculum.importers.parts.ready_questions import read_json, read_split
from curriculum.importers.parts.reports import sections
from curriculum.missing import is_missing, says_nothing, valid_texts
from curriculum.task import Split
from curriculum.taskset import TaskSetError, read_written

IMAGE_COLUMNS = ("image", "image_path", "images", "path_to_image", "filename", "file")
PATIENT_COLUMNS = ("patient_id", "patient", "subject_id", "deid_patient_id")
STUDY_COLUMNS = ("study_id", "uid", "id")
NEEDED = "a table with a column image (or image_path) and a column report, findings, impression or labels"
_SECTIONS = ("findings", "impression", "indication")
_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M", "o": "O", "other": "O"}
_VIEWS = {"pa": "PA", "ap": "AP", "lateral": "Lateral", "lat": "Lateral", "ll": "Lateral"}
_KEPT = ("source", "licence", "attribution")
_NO_IMAGE = "of rows that name no image"
_NO_NAME = Path()  # a table's name says no split
_NOTHING_KNOWN = "of which neither report nor labels nor view are known"
_NO_REPORT = "films have no report: no file below --reports is named so"
_NO_PATIENT = "films name no patient; a study, or else a row, counts as one, so a patient may come into two splits"
_DICOM = (".dcm", ".dicom")


def import_own(images: Path, table: Path, out: Path, reports: Path | None = None, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet, with every family of question that reports and labels answer.

    Args:
        images: folder with the films, at any depth.
        table: the table, CSV or JSON.
        out: folder for the task set.
        reports: folder with the reports as text files, at any depth, if the table does not hold them. A row's column
            `report` is the end of a file's path; without it, the report of p1/a.png is a.txt.
        seed: of the questions and, if the table has none, of the splits.

    Raises:
        TaskSetError: the table cannot be used; see also `films.import_films`.
    """
    skipped, remarks = Skipped(), Counter[str]()
    rows = list(_rows(table))
    texts = None if reports is None else _ReportFiles(reports, [image for _, row in rows for image in _images(row)])
    spelt: dict[str, str] = {}  # a finding in lower case, as the first row writes it
    labels: list[Label] = []
    for place, row in rows:
        if not any(name in row for name in IMAGE_COLUMNS):
            raise TaskSetError(f"{place}: no column image; found {list(row)}; {NEEDED} is needed")
        text = _cell(row, "report") if texts is None else texts.of(place, row)
        if text is None:
            remarks[_NO_REPORT] += len(_images(row))
        labels += _labels(place, row, text or "", spelt, skipped, remarks)
    vocabulary = sorted(spelt.values())
    if len(vocabulary) == 1:
        raise TaskSetError(f"{table}: the column labels names only the finding {vocabulary[0]!r}; questions need two")
    summary = import_films(labels, images, table, out, vocabulary, seed, skipped)
    summary.remarks = remarks
    return summary


def _rows(table: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows, each with its place in words. The lists of "train", "val" and "test" give their rows a split."""
    if table.suffix.lower() not in (".json", ".jsonl"):
        yield from read_csv(table, (), NEEDED)
        return
    by_split = _by_split(table)
    if by_split is None:
        rows = ((f"{table}: row {number} (0-based)", row) for number, row in enumerate(read_json(table)))
        yield from rows
        return
    for split, found in by_split.items():
        for number, row in enumerate(found):
            yield f"{table}: {split}, row {number} (0-based)", {"split": split, **row}


def _by_split(table: Path) -> dict[str, list[dict[str, Any]]] | None:
    """The lists of an object of lists; None for another file, which `read_json` reads or refuses."""
    try:
        whole = json.loads(table.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(whole, dict) or not whole:
        return None
    for name, rows in whole.items():
        if name not in get_args(Split) or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise TaskSetError(
                f"{table}: it holds {name!r:.40}: {rows!r:.40}; lists of objects, train, val and test, are needed"
            )
    return cast("dict[str, list[dict[str, Any]]]", valid_texts(whole))


def _labels(
    place: str, row: dict[str, Any], text: str, spelt: dict[str, str], skipped: Skipped, remarks: Counter[str]
) -> Iterator[Label]:
    """What a row says of each of its films."""
    images = _images(row)
    patient = _cell(row, *PATIENT_COLUMNS)
    if not images:
        skipped.note(_NO_IMAGE, place)
    if not patient:
        remarks[_NO_PATIENT] += len(images)
    texts = _sections(row, text)
    findings = None
    if cell := _cell(row, "labels"):
        findings = tuple(spelt.setdefault(name.casefold(), name) for name in listed_findings(cell, place))
    sex, view = _cell(row, "sex").casefold(), _cell(row, "view").casefold()
    provenance: dict[str, object] = {name: _cell(row, name) for name in _KEPT if _cell(row, name)}
    provenance |= {"view": _VIEWS.get(view, ""), "sex": _SEXES.get(sex, ""), "age": read_age(_cell(row, "age"))}
    parts: dict[str, str] = {name: texts[name] for name in ("findings", "impression") if name in texts}
    for image in images:
        if image.lower().endswith(_DICOM):
            raise TaskSetError(f"{place}: {image!r:.80} is DICOM, which `data import dicom` makes into PNG")
        if findings is None and not parts and not provenance["view"]:
            skipped.note(_NOTHING_KNOWN, image)
            continue
        yield Label(
            f"{place}, image {image!r}",
            id=path_key(image).rpartition(".")[0] or image,
            file=image,
            patient=patient or _cell(row, *STUDY_COLUMNS) or path_key(images[0]),
            findings=findings,
            split=read_split(_cell(row, "split"), _NO_NAME, place) if _cell(row, "split") else "",
            provenance=provenance,
            indication=texts.get("indication", ""),
            sections=parts,
        )


def _images(row: dict[str, Any]) -> list[str]:
    """The films of a row: one, a list, or several with "|" or ";" between them."""
    for name in IMAGE_COLUMNS:
        value = read_written(row.get(name), list)
        named = value if isinstance(value, list) else re.split(r"[|;]", str(value or ""))
        if images := [str(image).strip() for image in named if not is_missing(image)]:
            return images
    return []


class _ReportFiles:
    """Reports in files.

    Args:
        folder: of the files, at any depth.
        images: all that the table names.
    """

    def __init__(self, folder: Path, images: Sequence[str]) -> None:
        self._index = index_images(folder, (1, 2, 3), (".txt",))
        self._films_of = Counter(_text_name(image).rpartition("/")[2] for image in images)

    def of(self, place: str, row: dict[str, Any]) -> str | None:
        """The text of a row's report; None if its file is not there.

        Raises:
            TaskSetError: two files are named so.
        """
        named = _cell(row, "report")
        for name in [path_key(named)] if named else map(_text_name, _images(row)):
            file = name.rpartition("/")[2]
            keys = [name, file] if named or self._films_of[file] == 1 else [name]
            paths = next((self._index[key] for key in keys if key in self._index), [])
            if len(paths) > 1:
                raise TaskSetError(f"{place}: its report may be {paths[0]} or {paths[1]}; only one may be there")
            if paths:
                return Path(paths[0]).read_text(encoding="utf-8-sig", errors="replace")
        return None


def _text_name(image: str) -> str:
    """The end of the path of a film's report."""
    return f"{path_key(image).rpartition('.')[0]}.txt"


def _sections(row: dict[str, Any], text: str) -> dict[str, str]:
    """The sections of a report. A text without any heading counts as findings."""
    found = sections(text)
    if found.keys().isdisjoint(("findings", "impression")) and "" in found:
        found["findings"] = found[""]
    own = {name: " ".join(_cell(row, name).split()) for name in _SECTIONS}
    return {name: own[name] or found.get(name, "") for name in _SECTIONS if own[name] or found.get(name)}


def _cell(row: dict[str, Any], *names: str) -> str:
    """The first of some columns that holds something, as text."""
    for name in names:
        text = "" if is_missing(row.get(name)) else str(row[name]).strip()
        if text and not says_nothing(text):
            return text
    return ""


OWN = Importer(
    "own",
    "Your own films with reports, labels or both, by a table: CSV, or JSON as R2Gen's annotation.json.",
    (
        IMAGES,
        Option("table", "CSV or JSON with a row for each film or study: image, report, labels, patient_id, …", "path"),
        OUT,
        Option(
            "reports",
            "folder with the reports as .txt files, if the table does not hold them",
            "folder",
            required=False,
        ),
        SEED,
    ),
    import_own,
)
