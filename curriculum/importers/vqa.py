"""VQA-RAD and SLAKE: questions on chest X-rays that radiologists wrote and answered.

Lau J. et al., VQA-RAD, Scientific Data 5, 2018, https://osf.io/89kps/. Liu B. et al., SLAKE, ISBI 2021,
https://www.med-vqa.com/slake/. Both ship a JSON list; VQA-RAD has other organs, SLAKE other organs and Chinese.

What a row becomes: yes or no → `binary`; another CLOSED answer → `single_choice` where the question itself offers the
options; everything else → open, family `vqa`, the names that the answer lists. VQA-RAD's "test_…" phrase types are not
kept as a split, since they ask about images that other rows ask about too.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curriculum.importers.answers import YES_NO, Unreadable, read_choice, read_letters, read_names, yes_no
from curriculum.importers.films import ImportSummary
from curriculum.importers.ready_questions import ReadyQuestion, files_of, import_asked, read_json, read_split, text_of
from curriculum.task import Task
from curriculum.taskset import TaskSetError

_HINT = re.compile(r"\s*-\s*(?:open|closed|yes/no)\s*$", re.IGNORECASE)  # a few questions of VQA-RAD end with it
_NO_YES_NO = re.compile(r"(?:what|where|which|how|why)\b", re.IGNORECASE)
_MISSPELT = {"Cardiomega": "Cardiomegaly", "Cardiomegal": "Cardiomegaly", "Noudle": "Nodule"}  # answers of SLAKE


@dataclass(frozen=True)
class _Layout:
    source: str
    image: str  # column
    chest: tuple[tuple[str, str], ...]  # columns, and what they hold for a chest X-ray; the first that is there decides
    language: str
    licence: str
    attribution: str


VQA_RAD = _Layout(
    "vqa-rad",
    "image_name",
    (("image_organ", "CHEST"), ("modality", "X-RAY")),
    "",
    "CC0-1.0",
    "Lau et al., VQA-RAD, Scientific Data 5, 2018",
)  # its chest images are all X-rays
SLAKE = _Layout("slake", "img_name", (("modality", "X-RAY"),), "q_lang", "CC BY 4.0", "Liu et al., SLAKE, ISBI 2021")


def import_vqa(layout: _Layout, images: Path, labels: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet.

    Args:
        layout: `VQA_RAD` or `SLAKE`.
        images: folder with the images, at any depth.
        labels: a JSON file, or a folder of them (SLAKE: train.json, validate.json, test.json).
        seed: of the splits, by image, where neither a column `split` nor the file's name tells them.

    Raises:
        TaskSetError: a file cannot be used; see also `asked.import_asked`.
    """
    skipped: Counter[str] = Counter()
    rows = [row for path in files_of(labels, (".json",)) for row in _read(path, layout, skipped)]
    return import_asked(_agreed(rows, skipped), images, labels, out, seed, skipped)


def _read(path: Path, layout: _Layout, skipped: Counter[str]) -> Iterator[ReadyQuestion]:
    for number, row in enumerate(read_json(path)):
        where = f"{path}: row {number} (0-based)"
        id, image = text_of(row, "qid", where), text_of(row, layout.image, where)
        where = f"{where}, qid {id}"
        question, answer = (text_of(row, name, where) for name in ("question", "answer"))
        try:
            _check_kept(row, layout, where)
            fields = _fields(
                " ".join(_HINT.sub("", question).split()), answer, text_of(row, "answer_type", where).upper()
            )
        except Unreadable as reason:
            skipped[str(reason)] += 1
            continue
        task = Task(
            id=f"{layout.source}-{id}",
            images=(image,),
            source=layout.source,
            licence=layout.licence,
            attribution=layout.attribution,
            **fields,
        )
        yield ReadyQuestion(where, task, read_split(row.get("split"), path, where))


def _check_kept(row: dict, layout: _Layout, where: str) -> None:
    if layout.language and row.get(layout.language, "en") != "en":
        raise Unreadable("that are not English")
    column, value = next(((c, v) for c, v in layout.chest if c in row), ("", ""))
    if not column:
        raise TaskSetError(
            f"{where}: no column tells whether the image is a chest X-ray; {layout.chest[0][0]!r} is needed"
        )
    if str(row[column]).strip().upper() != value:
        raise Unreadable("about images that are no chest X-rays")


def _fields(question: str, answer: str, answer_type: str) -> dict[str, object]:
    """Of the task, as far as question and answer decide them."""
    if not question:
        raise Unreadable("without a text")
    if letter := yes_no(answer):
        if _NO_YES_NO.match(question):
            raise Unreadable("whose answer is yes or no to a what or where")
        return dict(domain="closed", family="binary", question=question, options=YES_NO, gold=letter)
    if answer_type == "CLOSED" and (options := read_choice(question, answer)):
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


def _agreed(rows: list[ReadyQuestion], skipped: Counter[str]) -> Iterator[ReadyQuestion]:
    """Each question on an image once, and not at all where it is answered in two ways."""
    answers = defaultdict(set)
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
