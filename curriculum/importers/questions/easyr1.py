"""Questions in the layout of EasyR1 or verl, CX-Mind's traces among them.

EasyR1 (https://github.com/hiyouga/EasyR1): JSON lines or Parquet with `problem`, `answer`, `images`.
verl (https://github.com/volcengine/verl): Parquet with `prompt` (messages), `reward_model.ground_truth`, `images`, and
`data_source` and `extra_info.split` if known. CX-Mind (arXiv 2508.03733) has EasyR1's layout; its `answer` is a gold
trace, `<think>…</think><answer>A) ❌</answer>…`, which becomes the task's `reference`; its last answer is the gold.

What a row becomes: a closed task if the problem lists options or the answer is yes or no; otherwise an open one with
the names in its answer, of family `diagnosis` if a trace leads to them, else `vqa`. A row that cannot be read with
certainty is skipped and counted by reason.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from curriculum.importers.importer import OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.answers import YES_NO, Unreadable, read_letters, read_names, split_options, yes_no
from curriculum.importers.parts.ready_questions import (
    ReadyQuestion,
    answer_of,
    files_of,
    import_questions,
    make_task,
    read_split,
    read_table,
    text_of,
)
from curriculum.missing import is_missing
from curriculum.taskset import TaskSetError, read_written

_PLACEHOLDER = "<image>"
_TAG = re.compile(r"</?(?:think|answer)>", re.IGNORECASE)
_INSIDE = r"((?:(?!</?(?:think|answer)>).)*)"
_PAIR = re.compile(rf"\s*<think>{_INSIDE}</think>\s*<answer>{_INSIDE}</answer>\s*", re.DOTALL)
_WRAPPED = re.compile(r"<answer>(.*)</answer>|\$*\\boxed\{(.*)\}\$*", re.DOTALL)
_MARKS = re.compile("[✅✔❌✖]\ufe0f?")


def import_easyr1(images: Path | None, labels: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet, and to `out`/images the images that the rows hold.

    Args:
        images: folder with the images that the rows name; not needed if the rows hold them.
        labels: a .jsonl, .json or .parquet file, or a folder of them.
        out: folder for the task set.
        seed: of the splits, by image, if neither the rows nor the file's name gives them.

    Raises:
        TaskSetError: a file cannot be used, or the number of `<image>` in a problem is not that of its images; see also
            `ready_questions.import_questions`.
    """
    skipped = Skipped()
    files = files_of(labels, (".jsonl", ".json", ".parquet"))
    rows = (row for path in files for row in _read(path, out / "images", skipped))
    return import_questions(rows, images, labels, out, seed, skipped)


def _read(path: Path, folder: Path, skipped: Skipped) -> Iterator[ReadyQuestion]:
    for number, row in enumerate(read_table(path)):
        where = f"{path}: row {number} (0-based)"
        try:
            problem = _problem(row, where)
            answer = _answer(row, where)
            images = _row_images(row, problem, where)
            fields = _fields(problem.replace(_PLACEHOLDER, " "), answer)
            task = make_task(
                id=f"{path.stem}-{number}",
                images=tuple(_image(image, folder, where) for image in images),
                source=text_of(row, "data_source", where) if row.get("data_source") else path.stem,
                **fields,
            )
        except Unreadable as reason:
            skipped.note(str(reason), f"row {number}")
            continue
        yield ReadyQuestion(where, task, read_split(_split(row), path, where))


def _split(row: dict[str, Any]) -> object:
    """The split that a row gives; None if it gives none."""
    extra = row.get("extra_info")
    given = (row.get("split"), extra.get("split") if isinstance(extra, dict) else None)
    return next((split for split in given if not is_missing(split)), None)


def _row_images(row: dict[str, Any], problem: str, where: str) -> list[object]:
    """The images of a row, one for each placeholder of its problem."""
    images = read_written(row.get("images"), list) or []
    if not isinstance(images, list):
        raise TaskSetError(f"{where}: 'images' must be a list, found {images!r:.60}")
    if problem.count(_PLACEHOLDER) != len(images):
        raise TaskSetError(
            f"{where}: the problem has {problem.count(_PLACEHOLDER)} {_PLACEHOLDER} and the row "
            f"{len(images)} images; there must be one for each"
        )
    if not images:
        raise Unreadable("without an image")
    return images


def _problem(row: dict[str, Any], where: str) -> str:
    messages = read_written(row.get("prompt"), list)
    if "problem" in row or not isinstance(messages, list):
        return text_of(row, "problem", where)
    if not all(isinstance(message, dict) for message in messages):
        raise TaskSetError(f"{where}: 'prompt' must be messages with role and content, found {messages!r:.60}")
    dialogue = [message for message in messages if message.get("role") != "system"]
    if [message.get("role") for message in dialogue] != ["user"]:
        raise Unreadable("that are not a single message of a user")
    return text_of(dialogue[0], "content", where)


def _answer(row: dict[str, Any], where: str) -> str:
    reward_model = read_written(row.get("reward_model"), dict)
    if "answer" in row or not isinstance(reward_model, dict):
        return answer_of(row, "answer", where)
    return answer_of(reward_model, "ground_truth", where)


def _fields(problem: str, answer: str) -> dict[str, Any]:
    """The fields of the task that problem and answer decide."""
    lines = (" ".join(line.split()) for line in problem.splitlines())
    question, options = split_options("\n".join(line for line in lines if line))
    if not question:
        raise Unreadable("without a text")
    reference = None
    wrapped = _WRAPPED.fullmatch(answer)
    if wrapped:
        answer = (wrapped[1] or wrapped[2] or "").strip()
    elif _TAG.search(answer):
        reference = answer
        answer = _last_answer(answer)
    common = dict(question=question, reference=reference)
    if options:
        gold = read_letters(answer, options)
        return dict(domain="closed", family=_closed_family(options, gold), options=options, gold=gold, **common)
    letter = yes_no(answer)
    if letter:
        return dict(domain="closed", family="binary", options=YES_NO, gold=letter, **common)
    return dict(domain="open", family="diagnosis" if reference else "vqa", gold=read_names(answer), **common)


def _closed_family(options: dict[str, str], gold: tuple[str, ...]) -> str:
    if {text.casefold() for text in options.values()} == {"yes", "no"}:
        return "binary"
    return "single_choice" if len(gold) == 1 else "multiple_choice"


def _last_answer(trace: str) -> str:
    """What the last answer of a trace says is right, without its marks."""
    end = 0
    last = ""
    pair = _PAIR.match(trace)
    while pair:
        end = pair.end()
        last = pair[2]
        pair = _PAIR.match(trace, end)
    if end < len(trace):
        raise Unreadable("whose trace is not made of think–answer pairs only")
    if "❌" in last or "✖" in last:
        raise Unreadable("whose trace ends with an answer marked as wrong")
    return _MARKS.sub("", last).strip()


def _image(image: object, folder: Path, where: str) -> str:
    """The path of an image that a row names, or of the file to which its bytes are written."""
    if isinstance(image, dict):
        image = image.get("bytes") or image.get("path")
    if is_missing(image):
        raise Unreadable("without an image")
    if isinstance(image, str) and image:
        return image
    if not isinstance(image, bytes):
        raise TaskSetError(f"{where}: an image is {image!r:.60}; a path, or a struct of bytes and path, is needed")
    try:
        with Image.open(io.BytesIO(image)) as opened:
            suffix = str(opened.format).lower()
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise Unreadable("with an image whose bytes cannot be read; PNG and JPEG can") from error
    path = folder.absolute() / f"{hashlib.sha256(image).hexdigest()[:24]}.{suffix}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    return str(path)


EASYR1 = Importer(
    "easyr1",
    "EasyR1's or verl's layout, CX-Mind's gold traces included: ready questions with options, yes or no, or names.",
    (
        Option("labels", "a .jsonl, .json or .parquet file, or a folder of them", "path"),
        OUT,
        Option("images", "folder with the images, if the rows do not hold them", "folder", required=False),
        SEED,
    ),
    import_easyr1,
)
