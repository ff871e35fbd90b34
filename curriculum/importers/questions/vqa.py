"""VQA-RAD and SLAKE: questions on chest X-rays that radiologists wrote and answered.

Lau J. et al., VQA-RAD, Scientific Data 5, 2018, https://osf.io/89kps/. Liu B. et al., SLAKE, ISBI 2021,
https://www.med-vqa.com/slake/. Both ship a JSON list; VQA-RAD has other organs, SLAKE other organs and Chinese.

What a row becomes: yes or no → `binary`; another CLOSED answer → `single_choice` if the question itself offers the
options; everything else → open, family `vqa`, the names that the answer lists. VQA-RAD's "test_…" phrase types are not
kept as a split, since other rows ask about the same images.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.answers import YES_NO, Unreadable, read_choice, read_letters, read_names, yes_no
from curriculum.importers.parts.ready_questions import (
    ReadyQuestion,
    answer_of,
    files_of,
    import_questions,
    make_task,
    read_json,
    read_split,
    text_of,
)
from curriculum.taskset import TaskSetError

_HINT = re.compile(r"\s*-\s*(?:open|closed|yes/no)\s*$", re.IGNORECASE)  # a few questions of VQA-RAD end with it
_NO_YES_NO = re.compile(r"(?:what|where|which|how|why)\b", re.IGNORECASE)
_MISSPELT = {"Cardiomega": "Cardiomegaly", "Cardiomegal": "Cardiomegaly", "Noudle": "Nodule"}  # answers of SLAKE


@dataclass(frozen=True)
class VqaLayout:
    """How the rows of a set are laid out.

    Attributes:
        source: name of the set.
        image: column of the image's file.
        chest: columns, each with the value that it has for a chest X-ray; the first column that a row has decides.
        language: column of the question's language; "" if all questions are English.
        licence: of the set.
        attribution: of the set.
    """

    source: str
    image: str
    chest: tuple[tuple[str, str], ...]
    language: str
    licence: str
    attribution: str


VQA_RAD_LAYOUT = VqaLayout(
    source="vqa-rad",
    image="image_name",
    chest=(("image_organ", "CHEST"), ("modality", "X-RAY")),  # its chest images are all X-rays
    language="",
    licence="CC0-1.0",
    attribution="Lau et al., VQA-RAD, Scientific Data 5, 2018",
)
SLAKE_LAYOUT = VqaLayout(
    source="slake",
    image="img_name",
    chest=(("modality", "X-RAY"),),
    language="q_lang",
    licence="CC BY 4.0",
    attribution="Liu et al., SLAKE, ISBI 2021",
)


def import_vqa(layout: VqaLayout, images: Path, labels: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet.

    Args:
        layout: `VQA_RAD_LAYOUT` or `SLAKE_LAYOUT`.
        images: folder with the images, at any depth.
        labels: a JSON file, or a folder of them (SLAKE: train.json, validate.json, test.json).
        out: folder for the task set.
        seed: of the splits, by image, if neither a column `split` nor the file's name gives them.

    Raises:
        TaskSetError: a file cannot be used; see also `ready_questions.import_questions`.
    """
    skipped = Skipped()
    rows: list[ReadyQuestion] = []
    for path in files_of(labels, (".json",)):
        rows += _read(path, layout, skipped)
    return import_questions(_without_conflicts(rows, skipped), images, labels, out, seed, skipped)


def _read(path: Path, layout: VqaLayout, skipped: Skipped) -> Iterator[ReadyQuestion]:
    for number, row in enumerate(read_json(path)):
        where = f"{path}: row {number} (0-based)"
        id = text_of(row, "qid", where)
        image = text_of(row, layout.image, where)
        where = f"{where}, qid {id}"
        question = text_of(row, "question", where)
        try:
            if not id or not image:
                raise Unreadable("without a qid or an image")
            _check_kept(row, layout, where)
            answer = answer_of(row, "answer", where)
            answer_type = text_of(row, "answer_type", where).upper()
            fields = _fields(" ".join(_HINT.sub("", question).split()), answer, answer_type)
            task = make_task(
                id=f"{layout.source}-{id}",
                images=(image,),
                source=layout.source,
                licence=layout.licence,
                attribution=layout.attribution,
                **fields,
            )
        except Unreadable as reason:
            skipped.note(str(reason), f"row {number}")
            continue
        yield ReadyQuestion(where, task, read_split(row.get("split"), path, where))


def _check_kept(row: dict[str, Any], layout: VqaLayout, where: str) -> None:
    """Raises Unreadable unless the question is English and about a chest X-ray."""
    if layout.language and row.get(layout.language, "en") != "en":
        raise Unreadable("that are not English")
    for column, value in layout.chest:
        if column in row:
            if str(row[column]).strip().upper() != value:
                raise Unreadable("about images that are no chest X-rays")
            return
    raise TaskSetError(f"{where}: no column says whether the image is a chest X-ray; {layout.chest[0][0]!r} is needed")


def _fields(question: str, answer: str, answer_type: str) -> dict[str, Any]:
    """The fields of the task that question and answer decide."""
    if not question:
        raise Unreadable("without a text")
    letter = yes_no(answer)
    if letter:
        if _NO_YES_NO.match(question):
            raise Unreadable("whose answer is yes or no to a what or where")
        return dict(domain="closed", family="binary", question=question, options=YES_NO, gold=letter)
    options = read_choice(question, answer) if answer_type == "CLOSED" else None
    if options:
        return dict(
            domain="closed",
            family="single_choice",
            question=question,
            options=options,
            gold=read_letters(answer, options),
        )
    if "\t" in answer:
        raise Unreadable("whose answer is broken by tabs")
    return dict(domain="open", family="vqa", question=question, gold=read_names(_MISSPELT.get(answer, answer)))


def _without_conflicts(rows: list[ReadyQuestion], skipped: Skipped) -> Iterator[ReadyQuestion]:
    """Each question on an image once; none that is answered in two ways."""
    answers: dict[tuple[str, str], set[frozenset[str]]] = defaultdict(set)
    for row in rows:
        answers[_key(row)].add(frozenset(name.casefold() for name in row.task.gold))
    seen = set()
    for row in rows:
        if len(answers[_key(row)]) > 1:
            skipped["that are answered in two ways on one image"] += 1
        elif _key(row) in seen:
            skipped["that are asked again on the same image"] += 1
        else:
            seen.add(_key(row))
            yield row


def _key(row: ReadyQuestion) -> tuple[str, str]:
    return row.task.images[0], row.task.question.casefold().rstrip(" ?.")


VQA_RAD = Importer(
    "vqa-rad",
    "VQA-RAD: the radiologists' questions on its chest X-rays.",
    (IMAGES, Option("labels", "VQA_RAD Dataset Public.json", "path"), OUT, SEED),
    partial(import_vqa, VQA_RAD_LAYOUT),
)
SLAKE = Importer(
    "slake",
    "SLAKE: the English questions on its chest X-rays.",
    (
        IMAGES,
        Option("labels", "folder with train.json, validate.json and test.json, or one of them", "path"),
        OUT,
        SEED,
    ),
    partial(import_vqa, SLAKE_LAYOUT),
)
