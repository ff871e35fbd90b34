"""GEMeX: questions on MIMIC-CXR's films that a language model wrote from the reports, with reasons and regions.

Liu B. et al., GEMeX, ICCV 2025 (arXiv 2411.16778); format: data-v1-subset of https://github.com/Awenbocc/GEMeX-Project.
Two layouts: JSON lines, a file for each kind (question, choices such as "A: Right lung", answer: a text, a letter or a
list of letters, image_path, q_id, row_id), and for training a JSON list of conversations (image, q_type, row_id; the
question with "<choices>: [A: …, B: …]", and the answer as "<answer> B <reason> … <location> …").

What a row becomes: choices → `single_choice` or `multiple_choice`; yes or no → `binary`; else an open list of names,
family `vqa`; a sentence is skipped. Reasons are not used, since they quote the report; nor are locations, since the
files do not say in which frame of 224 × 224 pixels they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.answers import YES_NO, Unreadable, read_letters, read_names, split_options, yes_no
from curriculum.importers.parts.mimic_films import LICENCE, OPTIONAL_TABLES, films_by_id, patient_of_path
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

PROVENANCE = {
    "source": "gemex",
    "licence": LICENCE,
    "attribution": "Liu et al., GEMeX, ICCV 2025; Johnson et al., MIMIC-CXR-JPG",
}
_CHOICES = re.compile(r"\s*<choices>:\s*\[(.*)\]\s*$", re.DOTALL)
_NEXT_CHOICE = re.compile(r",\s*(?=[A-G]:\s)")
_ANSWER = re.compile(r"\s*<answer>(.*?)(?:<reason>.*)?$", re.DOTALL)


def import_gemex(
    images: Path, labels: Sequence[Path], out: Path, tables: Path | None = None, seed: int = 0
) -> ImportSummary:
    """Writes `out`/tasks.parquet.

    Args:
        images: folder with the films of MIMIC-CXR-JPG, at any depth.
        labels: .json or .jsonl files, or folders of them.
        out: folder for the task set.
        tables: folder with MIMIC-CXR-JPG's metadata and splits; with None, the names of the files or their folders
            (test/), or the seed, give the splits.
        seed: of the splits.

    Raises:
        TaskSetError: a file cannot be used; see also `ready_questions.import_questions`.
    """
    skipped = Skipped()
    films = films_by_id(tables)
    questions: list[ReadyQuestion] = []
    for path in chain.from_iterable(files_of(given, (".json", ".jsonl")) for given in labels):
        split = read_split(None, path, str(path)) or read_split(None, path.parent, str(path))
        for number, row in enumerate(read_json(path)):
            where = f"{path}: row {number} (0-based)"
            image = text_of(row, "image" if "conversations" in row else "image_path", where)
            film = films.get(Path(image).stem)
            try:
                if not image:
                    raise Unreadable("without an image")
                task = make_task(
                    id=f"gemex-{path.stem}-{number}",
                    images=(Path(image).name,),
                    view=film.view if film else "",
                    **PROVENANCE,
                    **_fields(row, where),
                )
            except Unreadable as reason:
                skipped.note(str(reason), f"row {number}")
                continue
            questions.append(ReadyQuestion(where, task, film.split if film else split, patient_of_path(image)))
    return import_questions(questions, images, labels[0], out, seed, skipped)


def _fields(row: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields of the task that question and answer decide."""
    question, choices, answer = _from_conversation(row, where) if "conversations" in row else _from_line(row, where)
    if not question:
        raise Unreadable("without a text")
    if choices:
        _, options = split_options("?\n" + "\n".join(choices))
        if len(options) != len(choices):
            raise Unreadable("whose options cannot be told apart")
        gold = read_letters(answer, options)
        family = "single_choice" if len(gold) == 1 else "multiple_choice"
        return dict(domain="closed", family=family, question=question, options=options, gold=gold)
    letter = yes_no(answer)
    if letter:
        return dict(domain="closed", family="binary", question=question, options=YES_NO, gold=letter)
    return dict(domain="open", family="vqa", question=question, gold=read_names(answer))


def _from_line(row: dict[str, Any], where: str) -> tuple[str, list[str], str]:
    """Question, choices and answer of a row of JSON lines."""
    choices = row.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise TaskSetError(f"{where}: 'choices' must be a list of texts, found {choices!r:.60}")
    return text_of(row, "question", where), choices, answer_of(row, "answer", where)


def _from_conversation(row: dict[str, Any], where: str) -> tuple[str, list[str], str]:
    """Question, choices and answer of a conversation."""
    turns = row["conversations"]
    if not isinstance(turns, list) or len(turns) != 2 or not all(isinstance(turn, dict) for turn in turns):
        raise TaskSetError(f"{where}: 'conversations' must be a question and an answer, found {turns!r:.60}")
    asked, said = (text_of(turn, "value", where) for turn in turns)
    answer = _ANSWER.fullmatch(said)
    if not answer:
        raise Unreadable("whose answer is not marked by <answer>")
    asked = asked.replace("<image>", " ").strip()
    listed = _CHOICES.search(asked)
    choices = _NEXT_CHOICE.split(listed[1]) if listed else []
    return _CHOICES.sub("", asked), choices, answer_of({"answer": answer[1].strip()}, "answer", where)


GEMEX = Importer(
    "gemex",
    "GEMeX: its questions on MIMIC-CXR's films.",
    (
        IMAGES,
        Option("labels", ".json or .jsonl files, or folders of them; may be repeated", "paths"),
        OUT,
        OPTIONAL_TABLES,
        SEED,
    ),
    import_gemex,
)
