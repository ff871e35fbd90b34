"""Questions in the layout of EasyR1 or verl, CX-Mind's traces among them.

EasyR1 (https://github.com/hiyouga/EasyR1): JSON lines or Parquet with `problem`, `answer`, `images`.
verl (https://github.com/volcengine/verl): Parquet with `prompt` (messages), `reward_model.ground_truth`, `images`, and
`data_source` and `extra_info.split` where known. CX-Mind (arXiv 2508.03733) has EasyR1's layout; its `answer` is a gold
trace, `<think>…</think><answer>A) ❌</answer>…`, which becomes the task's `reference`; its last answer is the gold.

What a row becomes: closed where the problem lists options, or the answer is yes or no; otherwise open, with the names of
its answer: family `diagnosis` where a trace leads to them, `vqa` elsewhere. A row that cannot be read surely is skipped
and counted by reason.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from curriculum.importers.answers import YES_NO, Unreadable, read_letters, read_names, split_options, yes_no
from curriculum.importers.films import ImportSummary
from curriculum.importers.ready_questions import ReadyQuestion, files_of, import_asked, read_json, read_split, text_of
from curriculum.task import Task
from curriculum.taskset import TaskSetError, read_rows

_PLACEHOLDER = "<image>"
_TAG = re.compile(r"</?(?:think|answer)>", re.IGNORECASE)
_INSIDE = r"((?:(?!</?(?:think|answer)>).)*)"
_PAIR = re.compile(rf"\s*<think>{_INSIDE}</think>\s*<answer>{_INSIDE}</answer>\s*", re.DOTALL)
_WRAPPED = re.compile(r"<answer>(.*)</answer>|\$*\\boxed\{(.*)\}\$*", re.DOTALL)
_MARKS = re.compile("[✅✔❌✖]\ufe0f?")
_ROWS_AT_ONCE = 64  # of Parquet, since they hold whole images


def import_chat(images: Path | None, labels: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet, and to `out`/images the images that the rows hold.

    Args:
        images: folder with the images that the rows name; not needed where they hold them.
        labels: a .jsonl, .json or .parquet file, or a folder of them.
        seed: of the splits, by image, where neither the rows nor the file's name tells them.

    Raises:
        TaskSetError: a file cannot be used, a problem has more or fewer `<image>` than there are images; see also
            `asked.import_asked`.
    """
    skipped: Counter[str] = Counter()
    files = files_of(labels, (".jsonl", ".json", ".parquet"))
    rows = (row for path in files for row in _read(path, out / "images", skipped))
    return import_asked(rows, images, labels, out, seed, skipped)


def _read(path: Path, folder: Path, skipped: Counter[str]) -> Iterator[ReadyQuestion]:
    rows = read_rows(path, (), at_once=_ROWS_AT_ONCE) if path.suffix == ".parquet" else read_json(path)
    for number, row in enumerate(rows):
        where = f"{path}: row {number} (0-based)"
        try:
            problem, answer = _problem(row, where), _answer(row, where)
            images = row.get("images") or []
            if not isinstance(images, list):
                raise TaskSetError(f"{where}: 'images' must be a list, found {images!r:.60}")
            if problem.count(_PLACEHOLDER) != len(images):
                raise TaskSetError(
                    f"{where}: the problem has {problem.count(_PLACEHOLDER)} {_PLACEHOLDER} and the row "
                    f"{len(images)} images; there must be one for each"
                )
            if not images:
                raise Unreadable("without an image")
            fields = _fields(problem.replace(_PLACEHOLDER, " "), answer)
        except Unreadable as reason:
            skipped[str(reason)] += 1
            continue
        extra = row.get("extra_info")
        split = row.get("split") or (extra.get("split") if isinstance(extra, dict) else None)
        yield ReadyQuestion(
            where,
            Task(
                id=f"{path.stem}-{number}",
                images=[_image(image, folder, where) for image in images],
                source=str(row.get("data_source") or path.stem),
                **fields,
            ),
            read_split(split, path, where),
        )


def _problem(row: dict, where: str) -> str:
    messages = row.get("prompt")
    if "problem" in row or not isinstance(messages, list):
        return text_of(row, "problem", where)
    if not all(isinstance(message, dict) for message in messages):
        raise TaskSetError(f"{where}: 'prompt' must be messages with role and content, found {messages!r:.60}")
    asked = [message for message in messages if message.get("role") != "system"]
    if [message.get("role") for message in asked] != ["user"]:
        raise Unreadable("that are no single message of a user")
    return text_of(asked[0], "content", where)


def _answer(row: dict, where: str) -> str:
    judged = row.get("reward_model")
    if "answer" in row or not isinstance(judged, dict):
        return text_of(row, "answer", where)
    return text_of(judged, "ground_truth", where)


def _fields(problem: str, answer: str) -> dict[str, object]:
    """Of the task, as far as problem and answer decide them."""
    lines = (" ".join(line.split()) for line in problem.splitlines())
    question, options = split_options("\n".join(line for line in lines if line))
    if not question:
        raise Unreadable("without a text")
    reference = None
    if wrapped := _WRAPPED.fullmatch(answer):
        answer = (wrapped[1] or wrapped[2] or "").strip()
    elif _TAG.search(answer):
        reference, answer = answer, _last_answer(answer)
    common = dict(question=question, reference=reference)
    if options:
        gold = read_letters(answer, options)
        yes_or_no = {text.casefold() for text in options.values()} == {"yes", "no"}
        family = "binary" if yes_or_no else "single_choice" if len(gold) == 1 else "multiple_choice"
        return dict(domain="closed", family=family, options=options, gold=gold, **common)
    if letter := yes_no(answer):
        return dict(domain="closed", family="binary", options=YES_NO, gold=letter, **common)
    return dict(domain="open", family="diagnosis" if reference else "vqa", gold=read_names(answer), **common)


def _last_answer(trace: str) -> str:
    """What the last answer of a trace says is right, without its marks."""
    end, last = 0, ""
    while pair := _PAIR.match(trace, end):
        end, last = pair.end(), pair[2]
    if end < len(trace):
        raise Unreadable("whose trace is not made of pairs of think and answer only")
    if "❌" in last or "✖" in last:
        raise Unreadable("whose trace ends with an answer marked as wrong")
    return _MARKS.sub("", last).strip()


def _image(image: object, folder: Path, where: str) -> str:
    """The path of an image that a row names, or of the file that is written of its bytes."""
    if isinstance(image, dict):
        image = image.get("bytes") or image.get("path")
    if isinstance(image, str) and image:
        return image
    if not isinstance(image, bytes):
        raise TaskSetError(f"{where}: an image is {image!r:.60}; a path, or a struct of bytes and path, is needed")
    try:
        with Image.open(io.BytesIO(image)) as opened:
            suffix = opened.format.lower()
    except OSError as error:
        raise TaskSetError(f"{where}: an image is no file that can be read; PNG and JPEG can ({error})") from error
    path = folder.absolute() / f"{hashlib.sha256(image).hexdigest()[:24]}.{suffix}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    return str(path)
