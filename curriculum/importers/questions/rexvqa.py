"""ReXVQA: multiple-choice questions on the studies of ReXGradient-160K.

Pal A. et al., ReXVQA, arXiv 2506.04353; Hugging Face: rajpurkarlab/ReXVQA and, for the films,
rajpurkarlab/ReXGradient-160K. metadata/train_vqa_data.json, valid_… and test_… hold an object of objects by the
question's id, with question, options ("A. No effusion", …), correct_answer (a letter), ImagePath (a list, the study's
films), ImageViewPosition (a list), PatientID, PatientSex, PatientAge and Indication. Explanations and reports are not
used.

A question is about all films of its study, each with its view as the caption; the indication is its context.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.answers import Unreadable, read_letters, split_options
from curriculum.importers.parts.label import read_age
from curriculum.importers.parts.ready_questions import (
    ReadyQuestion,
    files_of,
    import_questions,
    make_task,
    read_json,
    read_split,
    text_of,
)
from curriculum.missing import says_nothing
from curriculum.taskset import TaskSetError, read_written

PROVENANCE = {
    "source": "rexvqa",
    "licence": "ReXVQA and ReXGradient-160K terms on Hugging Face: non-commercial research, access on request",
    "attribution": "Pal et al., ReXVQA, arXiv 2506.04353; Zhang et al., ReXGradient-160K",
}


def import_rexvqa(images: Path, labels: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet.

    Args:
        images: folder with the films of ReXGradient-160K (deid_png), at any depth.
        labels: folder with train_vqa_data.json, valid_vqa_data.json and test_vqa_data.json, or one of them.
        out: folder for the task set.
        seed: of the splits, if the files' names do not give them.

    Raises:
        TaskSetError: a file cannot be used; see also `ready_questions.import_questions`.
    """
    skipped = Skipped()
    questions: list[ReadyQuestion] = []
    for path in files_of(labels, (".json",)):
        for row in read_json(path, key="id"):
            where = f"{path}: question {row['id']!r:.60}"
            films = _texts(row, "ImagePath", where)
            try:
                if not films:
                    raise Unreadable("without an image")
                task = make_task(
                    id=f"rexvqa-{path.stem}-{row['id']}",
                    images=tuple(films),
                    **PROVENANCE,
                    **_fields(row, films, where),
                )
            except Unreadable as reason:
                skipped.note(str(reason), str(row["id"]))
                continue
            patient = str(row.get("PatientID") or "")
            questions.append(ReadyQuestion(where, task, read_split(None, path, where), patient))
    return import_questions(questions, images, labels, out, seed, skipped)


def _fields(row: dict[str, Any], films: list[str], where: str) -> dict[str, Any]:
    options = _texts(row, "options", where)
    _, lettered = split_options("?\n" + "\n".join(options))
    if not options or len(lettered) != len(options):
        raise Unreadable("whose options cannot be told apart")
    gold = read_letters(text_of(row, "correct_answer", where), lettered)
    views = _texts(row, "ImageViewPosition", where)
    sex = str(row.get("PatientSex") or "").upper()
    indication = str(row.get("Indication") or "")
    return dict(
        domain="closed",
        family="single_choice" if len(gold) == 1 else "multiple_choice",
        question=text_of(row, "question", where),
        options=lettered,
        gold=gold,
        captions=tuple(views) if len(views) == len(films) > 1 else (),
        context="" if says_nothing(indication) else f"Indication: {' '.join(indication.split())}",
        sex=sex if sex in ("F", "M", "O") else "",
        age=read_age(row.get("PatientAge")),
    )


def _texts(row: dict[str, Any], name: str, where: str) -> list[str]:
    """A list of texts, also one that is written as text."""
    values = read_written(row.get(name), list) or []
    values = [values] if isinstance(values, str) else values
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TaskSetError(f"{where}: {name!r} must be a list of texts, found {values!r:.60}")
    return [value.strip() for value in values if value.strip()]


REXVQA = Importer(
    "rexvqa",
    "ReXVQA: its multiple-choice questions on the studies of ReXGradient-160K.",
    (
        IMAGES,
        Option("labels", "folder with train_, valid_ and test_vqa_data.json, or one of them", "path"),
        OUT,
        SEED,
    ),
    import_rexvqa,
)
