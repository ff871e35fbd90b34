"""MIMIC-CXR-VQA: templated questions on MIMIC-CXR's frontal films, answered by Chest ImaGenome's labels.

Bae S. et al., EHRXQA, NeurIPS Datasets and Benchmarks 2023; PhysioNet: MIMIC-Ext-MIMIC-CXR-VQA; format: Dataset
Description of https://github.com/baeseongsu/mimic-cxr-vqa. train.json, valid.json and test.json are lists of objects
with split, idx, subject_id, study_id, image_id (or image_path), question, semantic_type, template_arguments and answer,
a list of texts in lower case (empty: none). Files without answers (_train.json) are refused.

What a row becomes, by semantic_type: verify → `binary`; choose → a choice between the two values that the template
names, of which both may be right; query → open names, family `vqa`; no answer is then no name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.answers import YES_NO, Unreadable, yes_no
from curriculum.importers.parts.mimic_films import LICENCE, OPTIONAL_TABLES, films_by_id
from curriculum.importers.parts.ready_questions import (
    ReadyQuestion,
    files_of,
    import_questions,
    make_task,
    read_json,
    read_split,
    text_of,
)
from curriculum.task import OPTION_LETTERS
from curriculum.taskset import TaskSetError

PROVENANCE = {
    "source": "mimic-cxr-vqa",
    "licence": LICENCE,
    "attribution": "Bae et al., MIMIC-Ext-MIMIC-CXR-VQA, PhysioNet; NeurIPS 2023",
}


def import_mimic_vqa(images: Path, labels: Path, out: Path, tables: Path | None = None, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet.

    Args:
        images: folder with the films of MIMIC-CXR-JPG, at any depth.
        labels: folder with train.json, valid.json and test.json, or one of them.
        out: folder for the task set.
        tables: folder with MIMIC-CXR-JPG's metadata and splits: its splits, which other sets on these films share, are
            kept in place of the set's.
        seed: of the splits, if neither gives them.

    Raises:
        TaskSetError: a file cannot be used; see also `ready_questions.import_questions`.
    """
    skipped = Skipped()
    films = films_by_id(tables)
    questions: list[ReadyQuestion] = []
    for path in files_of(labels, (".json",)):
        for number, row in enumerate(read_json(path)):
            where = f"{path}: row {number} (0-based)"
            image = Path(text_of(row, "image_path" if "image_id" not in row else "image_id", where)).stem
            film = films.get(image)
            try:
                if not image:
                    raise Unreadable("without an image")
                task = make_task(
                    id=f"mimic-cxr-vqa-{path.stem}-{text_of(row, 'idx', where)}",
                    images=(f"{image}.jpg",),
                    view=film.view if film else "",
                    **PROVENANCE,
                    **_fields(row, where),
                )
            except Unreadable as reason:
                skipped.note(str(reason), f"row {number}")
                continue
            split = film.split if film else read_split(row.get("split"), path, where)
            questions.append(ReadyQuestion(where, task, split, f"p{text_of(row, 'subject_id', where)}"))
    return import_questions(questions, images, labels, out, seed, skipped)


def _fields(row: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields of the task that question and answer decide."""
    question = text_of(row, "question", where)
    answers = row.get("answer")
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise TaskSetError(
            f"{where}: 'answer' must be a list of texts, found {answers!r:.60}; "
            "the file with answers is needed (train.json, not _train.json)"
        )
    if not question:
        raise Unreadable("without a text")
    kind = text_of(row, "semantic_type", where)
    if kind == "verify":
        letter = yes_no(answers[0]) if len(answers) == 1 else None
        if letter is None:
            raise Unreadable("that verify something and are answered by neither yes nor no")
        return dict(domain="closed", family="binary", question=question, options=YES_NO, gold=letter)
    if kind == "choose":
        return _choice(question, answers, row.get("template_arguments"))
    return dict(domain="open", family="vqa", question=question, gold=tuple(map(plain_name, answers)))


def _choice(question: str, answers: list[str], arguments: Any) -> dict[str, Any]:
    """The fields of a choice between the two values of a template's argument."""
    values = arguments.values() if isinstance(arguments, dict) else ()
    pairs = [list(of_kind.values()) for of_kind in values if isinstance(of_kind, dict) and len(of_kind) == 2]
    if len(pairs) != 1:
        raise Unreadable("that do not say between which two values to choose")
    options = dict(zip(OPTION_LETTERS, map(str, pairs[0]), strict=False))
    gold = tuple(letter for letter, text in options.items() if text.lower() in answers)
    if not gold or len(gold) != len(answers):
        raise Unreadable("that choose neither of their values")
    family = "single_choice" if len(gold) == 1 else "multiple_choice"
    return dict(domain="closed", family=family, question=question, options=options, gold=gold)


def plain_name(name: str) -> str:
    """A name of Chest ImaGenome as an answer can give it: a list is split at "/" and "and", which some names hold."""
    return name.replace("/", "-").replace(" and ", " with ")


MIMIC_VQA = Importer(
    "mimic-cxr-vqa",
    "MIMIC-CXR-VQA: its questions on MIMIC-CXR's films.",
    (
        IMAGES,
        Option("labels", "folder with train.json, valid.json and test.json, or one of them", "path"),
        OUT,
        OPTIONAL_TABLES,
        SEED,
    ),
    import_mimic_vqa,
)
