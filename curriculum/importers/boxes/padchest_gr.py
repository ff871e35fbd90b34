"""PadChest-GR: reports of PadChest's films, sentence by sentence in English and Spanish, with boxes for what they find.

Castro D. et al., PadChest-GR, NEJM AI 2025 (arXiv 2411.05085), https://bimcv.cipf.es/bimcv-projects/padchest-gr/.
grounded_reports_20240819.json lists the studies: StudyID, ImageID (the film's file) and `findings`, each a sentence
(sentence_en), whether it is `abnormal`, and for abnormal ones `labels` and `boxes`, [left, top, right, bottom] as
shares of the film's width and height. master_table.csv has a row for each label, with StudyID, split (train,
validation, test), PatientID, PatientSex_DICOM and PatientAge. `extra_boxes`, `progression` and the Spanish sentences
are not used.

A label of an abnormal sentence is present; another one is absent, since the sentences are the whole report.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.films import import_films
from curriculum.importers.parts.label import Box, Label, read_age
from curriculum.importers.parts.ready_questions import read_json, read_split, text_of
from curriculum.missing import says_nothing
from curriculum.taskset import TaskSetError

PROVENANCE: dict[str, object] = {
    "source": "padchest-gr",
    "licence": "BIMCV PadChest-GR Research Use Agreement: research only",
    "attribution": "BIMCV and Microsoft / Castro et al., PadChest-GR, NEJM AI 2025",
}
_COLUMNS = ("StudyID", "PatientID", "split")
_NO_ROW = "whose study is not in master_table.csv"
_NO_SENTENCE = "without a sentence"


def import_padchest_gr(images: Path, reports: Path, table: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet, with every family of question that sentences, labels and boxes answer.

    Args:
        images: folder with the films (PNG), at any depth.
        reports: grounded_reports_20240819.json.
        table: master_table.csv.
        out: folder for the task set.
        seed: of the questions.

    Raises:
        TaskSetError: a file cannot be used; see also `films.import_films`.
    """
    skipped = Skipped()
    studies = {row["StudyID"]: row for _, row in read_csv(table, _COLUMNS, "PadChest-GR's master_table.csv")}
    films = list(_read(reports, studies, skipped))
    vocabulary = sorted({name for film in films for name in film.findings or ()})
    return import_films(films, images, reports, out, vocabulary, seed, skipped)


def _read(path: Path, studies: dict[str, dict[str, str]], skipped: Skipped) -> Iterator[Label]:
    for number, study in enumerate(read_json(path)):
        where = f"{path}: row {number} (0-based)"
        id, image = text_of(study, "StudyID", where), text_of(study, "ImageID", where)
        where = f"{where}, image {image!r}"
        row = studies.get(id)
        sentences = _sentences(study, where)
        if row is None or not sentences:
            skipped.note(_NO_ROW if row is None else _NO_SENTENCE, id)
            continue
        findings: dict[str, None] = {}
        boxes: list[Box] = []
        for sentence in sentences:
            if sentence.get("abnormal"):
                findings.update(dict.fromkeys(_texts(sentence, "labels", where)))
                boxes += _boxes(sentence, where)
        strata: dict[str, object] = {
            "sex": row.get("PatientSex_DICOM", "") if row.get("PatientSex_DICOM") in ("F", "M", "O") else "",
            "age": read_age(row.get("PatientAge")),
        }
        healthy = not any(sentence.get("abnormal") for sentence in sentences)
        yield Label(
            where,
            id=image.removesuffix(".png"),
            file=image,
            patient=row["PatientID"] or id,
            findings=tuple(findings) if findings or healthy else None,
            split=read_split(row["split"], path, where),
            provenance=PROVENANCE | strata,
            sections={"findings": " ".join(text_of(sentence, "sentence_en", where) for sentence in sentences)},
            phrases=tuple(boxes),
            size=(1, 1),
        )


def _sentences(study: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """The sentences of a study that have an English text."""
    findings = study.get("findings")
    if not isinstance(findings, list) or not all(isinstance(finding, dict) for finding in findings):
        raise TaskSetError(f"{where}: 'findings' must be a list of objects, found {findings!r:.60}")
    return [finding for finding in findings if text_of(finding, "sentence_en", where)]


def _texts(finding: dict[str, Any], name: str, where: str) -> list[str]:
    values = finding.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, str) and not says_nothing(value) for value in values):
        raise TaskSetError(f"{where}: {name!r} must be a list of names, found {values!r:.60}")
    return [value.strip() for value in values]


def _boxes(finding: dict[str, Any], where: str) -> list[Box]:
    boxes: list[Box] = []
    given = finding.get("boxes") or []
    if not isinstance(given, list):
        raise TaskSetError(f"{where}: 'boxes' must be a list, found {given!r:.60}")
    for box in given:
        try:
            left, top, right, bottom = map(float, box)
        except (TypeError, ValueError) as error:
            raise TaskSetError(f"{where}: the box {box!r:.60} is not four numbers") from error
        if not (left < right < 1.01 and top < bottom < 1.01):
            raise TaskSetError(f"{where}: the box {box!r:.80} is not left, top, right, bottom as shares of the film")
        boxes.append((text_of(finding, "sentence_en", where), left, top, right, bottom))
    return boxes


PADCHEST_GR = Importer(
    "padchest-gr",
    "PadChest-GR: questions on findings, sentences of the report, and where they are seen.",
    (
        IMAGES,
        Option("reports", "grounded_reports_20240819.json", "path"),
        Option("table", "master_table.csv", "path"),
        OUT,
        SEED,
    ),
    import_padchest_gr,
)
