"""EHRXQA: questions on electronic health records with chest X-rays, of which those on one film are kept.

Bae S. et al., EHRXQA, NeurIPS Datasets and Benchmarks 2023, https://physionet.org/content/ehrxqa/; format: Dataset
Description of https://github.com/baeseongsu/ehrxqa. train.json, valid.json and test.json are lists of objects with
split, id, question, query (NeuralSQL; func_vqa asks a film), value (such as {"study_id": 52938498}), is_impossible and
answer, a list: [1] or [0] for yes or no, or names. The questions name a study by its number, which is replaced by
"this"; the film is the study's first frontal one, as in the set's own preprocessing.

Left out, and counted: what needs tables of the record, several studies or patients, or has no answer.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.answers import YES_NO, Unreadable
from curriculum.importers.parts.mimic_films import LICENCE, TABLES, MimicFilm, frontal_films
from curriculum.importers.parts.ready_questions import (
    ReadyQuestion,
    files_of,
    import_questions,
    make_task,
    read_json,
    text_of,
)
from curriculum.importers.questions.mimic_vqa import plain_name
from curriculum.taskset import TaskSetError

PROVENANCE = {
    "source": "ehrxqa",
    "licence": LICENCE,
    "attribution": "Bae et al., EHRXQA, PhysioNet; NeurIPS 2023",
}


def import_ehrxqa(images: Path, labels: Path, tables: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet.

    Args:
        images: folder with the films of MIMIC-CXR-JPG, at any depth.
        labels: folder with train.json, valid.json and test.json, or one of them.
        tables: folder with MIMIC-CXR-JPG's metadata and splits, which give each study's film and split.
        out: folder for the task set.
        seed: not used, since the tables give the splits.

    Raises:
        TaskSetError: a file cannot be used; see also `ready_questions.import_questions`.
    """
    skipped = Skipped()
    studies = frontal_films(tables)
    questions: list[ReadyQuestion] = []
    for path in files_of(labels, (".json",)):
        for number, row in enumerate(read_json(path)):
            where = f"{path}: row {number} (0-based)"
            try:
                study = _study(row)
                film = _film(studies.get(study, []))
                task = make_task(
                    id=f"ehrxqa-{path.stem}-{text_of(row, 'id', where)}",
                    images=(f"{film.id}.jpg",),
                    view=film.view,
                    **PROVENANCE,
                    **_fields(row, study, where),
                )
            except Unreadable as reason:
                skipped.note(str(reason), f"row {number}")
                continue
            questions.append(ReadyQuestion(where, task, film.split, film.patient))
    return import_questions(questions, images, labels, out, seed, skipped)


def _study(row: dict[str, Any]) -> str:
    """The study that a question is about, if it is about one film and nothing else."""
    values = row.get("value")
    if not isinstance(values, dict) or "func_vqa" not in str(row.get("query")):
        raise Unreadable("that do not ask a film")
    if list(values) != ["study_id"]:
        raise Unreadable("about more than one study")
    if row.get("is_impossible"):
        raise Unreadable("that cannot be answered")
    return str(values["study_id"])


def _film(films: list[MimicFilm]) -> MimicFilm:
    if not films:
        raise Unreadable("whose study has no frontal film in MIMIC-CXR-JPG's metadata")
    return min(films, key=lambda film: (film.order, film.id))


def _fields(row: dict[str, Any], study: str, where: str) -> dict[str, Any]:
    """The fields of the task that question and answer decide."""
    question = re.sub(rf"(?:\bthe )?(?:\bstudy )?\b{study}\b(?: study)?", "this study", text_of(row, "question", where))
    answers = row.get("answer")
    if not isinstance(answers, list):
        raise TaskSetError(
            f"{where}: 'answer' must be a list, found {answers!r:.60}; "
            "the file with answers is needed (train.json, not _train.json)"
        )
    if not question:
        raise Unreadable("without a text")
    if answers in ([0], [1]):
        letter = "A" if answers == [1] else "B"
        return dict(domain="closed", family="binary", question=question, options=YES_NO, gold=(letter,))
    if not all(isinstance(answer, str) for answer in answers):
        raise Unreadable("whose answer is neither yes, no nor names")
    return dict(domain="open", family="vqa", question=question, gold=tuple(map(plain_name, answers)))


EHRXQA = Importer(
    "ehrxqa",
    "EHRXQA: those of its questions that one film of MIMIC-CXR answers.",
    (
        IMAGES,
        Option("labels", "folder with train.json, valid.json and test.json, or one of them", "path"),
        TABLES,
        OUT,
        SEED,
    ),
    import_ehrxqa,
)
