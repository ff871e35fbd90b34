"""What all importers of labelled films share: find the images, split by patient, ask every question that the labels answer.

A layout's module reads its own files into `Label`s; `import_films` does the rest.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from curriculum.boxes import write_box
from curriculum.questions import VIEWS, LabelledFilm, QuestionWriter
from curriculum.task import NO_FINDING, OPTION_LETTERS, Split, Task
from curriculum.taskset import FILE_NAME, TaskSetError, write_tasks

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_NAMES_SHOWN = 5
_MOST_DESCRIBED = 30  # findings: a sentence about each of PadChest's 190 would be a report of a thousand tokens


@dataclass
class ImportSummary:
    """What an import made of a set: counts of films, and of tasks by (domain, family, split)."""

    path: Path
    splits_from: str
    films: int = 0
    unlabelled: int = 0  # films of which no findings are known
    tasks: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)  # image files that were not found
    skipped: Counter[str] = field(default_factory=Counter)  # rows left out, by reason ("that were not labelled …")
    rows: str = "films"  # what the rows are that `skipped` counts

    def counted(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """The tasks, counted as they pass."""
        for task in tasks:
            self.tasks[task.domain, task.family, task.split] += 1
            yield task

    def lines(self) -> list[str]:
        """The summary for a terminal."""
        lines = [f"{self.films} films, {self.tasks.total()} tasks → {self.path}", f"splits: {self.splits_from}"]
        for domain, family in sorted({key[:2] for key in self.tasks}):
            counts = ", ".join(f"{split} {self.tasks[domain, family, split]}" for split in get_args(Split))
            lines.append(f"{domain} {family}: {counts}")
        if self.unlabelled:
            lines.append(
                f"{self.unlabelled} films have no labels of findings; they are asked about by view and report only"
            )
        if self.missing:
            names = ", ".join(self.missing[:_NAMES_SHOWN]) + (", …" if len(self.missing) > _NAMES_SHOWN else "")
            lines.append(f"skipped {len(self.missing)} films without their image file: {names}")
        return lines + [f"skipped {count} {self.rows} {why}" for why, count in sorted(self.skipped.items())]


@dataclass(frozen=True)
class Label:
    """What a label file says of one film.

    `findings` are present and `unsure` undecided; None where the film was not labelled for findings at all.
    `boxes` are (finding, left, top, right, bottom) in pixels of an image of `size` (width, height).
    `order` tells the films of a patient apart in time; the progression between neighbours is asked where it is known.
    """

    where: str  # file, row and image, for messages
    id: str
    file: str  # the end of the image's path, as much of it as tells it from others
    patient: str
    findings: tuple[str, ...] | None = None
    unsure: tuple[str, ...] = ()
    split: str = ""  # empty where the set has none
    provenance: dict[str, object] = field(default_factory=dict)  # view, sex, age, source, licence, attribution
    sections: dict[str, str] = field(default_factory=dict)  # "findings" and "impression" of the report
    indication: str = ""
    boxes: tuple[tuple[str, float, float, float, float], ...] = ()
    size: tuple[float, float] = (0, 0)
    order: float | None = None


def import_films(
    rows: Iterable[Label],
    images: Path,
    labels: Path,
    out: Path,
    vocabulary: Sequence[str],
    seed: int = 0,
    skipped: Counter[str] | None = None,
) -> ImportSummary:
    """Writes `out`/tasks.parquet: every question that is answered by what is known of each film (see `questions`).

    Images are found anywhere below `images` by `Label.file`, neither opened nor copied. Given splits are kept; a set
    without val gives an eighth of its train patients to val; where none is given, patients are split 70/10/20 by a
    seeded hash, so a patient's split does not depend on which films are at hand.

    Args:
        rows: what the label file says, one row per image.
        labels: that file, for messages.
        vocabulary: the findings that were looked for.
        skipped: rows that the reader left out, by reason; they are told in the summary.

    Raises:
        TaskSetError: an image has two rows, a patient is in two splits, two images below `images` are called alike,
            or none of the images is there.
    """
    first: dict[str, Label] = {}
    for row in rows:
        if first.setdefault(row.id, row) is not row:
            raise TaskSetError(f"{row.where}: this image has a row already; one row per image")
    index = index_images(images, {row.file.count("/") + 1 for row in first.values()})
    located = [(row, locate(row, index)) for row in first.values()]
    present = [(row, path) for row, path in located if path]
    if not present:
        named = next(iter(first.values())).file if first else "unknown, no film is labelled"
        raise TaskSetError(
            f"{images}: none of the {len(first)} images of {labels} is below this folder; the first would be {named}"
        )
    splits, splits_from = split_patients([row for row, _ in present], labels, seed)
    films = [
        (
            row,
            LabelledFilm(
                row.id, path, row.findings or (), splits[row.patient], row.patient, row.provenance, unsure=row.unsure
            ),
        )
        for row, path in present
    ]
    summary = ImportSummary(
        out / FILE_NAME,
        splits_from,
        len(films),
        sum(row.findings is None for row, _ in films),
        missing=[row.file for row, path in located if not path],
        skipped=skipped if skipped is not None else Counter(),
    )
    write_tasks(summary.counted(_questions(films, vocabulary, seed)), out)
    return summary


def describe(finding: str, present: bool, rng: np.random.Generator) -> str:
    """The think sentence of a gold trace: the label in words, since no more is known of the film."""
    if finding == NO_FINDING:
        return "Nothing is seen." if present else "Something is seen."
    return f"{finding} is seen." if present else f"{finding} is not seen."


def check_findings(where: str, findings: Sequence[str], healthy: bool, vocabulary: Sequence[str]) -> None:
    """Raises TaskSetError unless the film has either no finding or some of the vocabulary, each once."""
    if stray := [name for name in findings if name not in vocabulary]:
        raise TaskSetError(
            f"{where}: {stray[0]!r} is none of the findings; they are {NO_FINDING} or {', '.join(vocabulary)}"
        )
    if healthy == bool(findings) or len(set(findings)) < len(findings) or len(findings) == len(vocabulary):
        raise TaskSetError(
            f"{where}: labels {list(findings)} with no-finding {healthy}; "
            "a film has either no finding or some of them, each once"
        )


def index_images(
    images: Path, depths: Collection[int] = (1,), suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> dict[str, list[str]]:
    """The last parts of a path (as many as each of `depths`), joined by "/", to the images below the folder that end so."""
    index: dict[str, list[str]] = {}
    for folder, subfolders, names in os.walk(os.path.abspath(images)):
        subfolders.sort()
        for name in names:
            if name.lower().endswith(tuple(suffixes)):
                path = os.path.join(folder, name)
                parts = path.split(os.sep)
                for depth in depths:
                    index.setdefault("/".join(parts[-depth:]), []).append(path)
    return index


def locate(row: Label, index: dict[str, list[str]]) -> str | None:
    """The image of a row: the one whose path ends with the row's `file`, None where there is none.

    Raises:
        TaskSetError: two images' paths do.
    """
    found = index.get(row.file, [])
    if len(found) > 1:
        raise TaskSetError(
            f"{row.where}: two images have this name, {found[0]} and {found[1]}; "
            "only one of them may be below the image folder"
        )
    return found[0] if found else None


def split_patients(rows: Sequence[Label], labels: Path, seed: int) -> tuple[dict[str, Split], str]:
    """The split of every patient, and where the splits come from.

    Raises:
        TaskSetError: a patient is in two splits, a split is unknown, or only some films have one.
    """
    given: dict[str, str] = {}
    for row in rows:
        if row.split and row.split not in get_args(Split):
            raise TaskSetError(f"{row.where}: split {row.split!r} must be one of {', '.join(get_args(Split))}")
        if given.setdefault(row.patient, row.split) != row.split:
            raise TaskSetError(
                f"{row.where}: patient {row.patient!r} is in split {row.split!r} here and in "
                f"{given[row.patient]!r} above; a patient must be in one split only"
            )
    if not any(given.values()):
        return {p: _by_share(unit(f"{seed}:{p}"), 0.7, 0.8) for p in given}, f"by patient, 70/10/20, seed {seed}"
    if "" in given.values():
        raise TaskSetError(f"{labels}: the split is empty for some films; fill it for all or for none")
    if "val" in given.values():
        return given, f"given by {labels.name}"
    carved = {p: _by_share(unit(f"{seed}:{p}"), 7 / 8, 1) if s == "train" else s for p, s in given.items()}
    return carved, f"given by {labels.name}; val taken from train, by patient, seed {seed}"


def read_age(value: object) -> float | None:
    """Years, such as 58 or NIH's 058Y; None where they are not told or cannot be (NIH has a few above 120)."""
    text = str(value).strip().upper().removesuffix("Y")
    return float(text) if text.replace(".", "", 1).isdigit() and float(text) <= 120 else None


def unit(text: str) -> float:
    """A number in [0, 1) that depends on the text only (Python's own hash changes with every process)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def _by_share(share: float, train_below: float, val_below: float) -> Split:
    return "train" if share < train_below else "val" if share < val_below else "test"


def _questions(films: Sequence[tuple[Label, LabelledFilm]], vocabulary: Sequence[str], seed: int) -> Iterator[Task]:
    labelled = [film for row, film in films if row.findings is not None]
    seen = Counter(finding for film in labelled if film.split == "train" for finding in film.findings)
    # One more of each: a finding that no train film shows must still be offered as a wrong option.
    healthy = sum(not film.findings for film in labelled) / max(1, len(labelled))
    writer = QuestionWriter({finding: seen[finding] + 1 for finding in vocabulary}, healthy, describe)
    texts = _texts(films)
    before = _films_before(films)
    for row, film in films:
        rng = np.random.default_rng([seed, int(unit(film.id) * 2**48)])
        if vocabulary and row.findings is not None:
            yield from _about_findings(writer, film, len(vocabulary), rng)
        if film.provenance.get("view") in VIEWS:
            yield writer.view(film)
        if film.id in texts:
            yield writer.matching(film, texts[film.id], _of_another(film, texts, films, rng), rng)
        for name, text in row.sections.items():
            yield writer.section(film, name, text)
            if row.indication:
                yield writer.section(film, name, text, row.indication)
        if earlier := before.get(film.id):
            if finding := _changed(earlier, film, vocabulary, rng):
                yield writer.progression(earlier, film, finding)
        boxes = defaultdict(list)
        for finding, *edges in row.boxes:
            try:
                boxes[finding].append(write_box(*edges, *row.size))
            except ValueError as error:
                raise TaskSetError(
                    f"{row.where}: the box {edges} of {finding} holds nothing of a film of "
                    f"{row.size}; a box is left, top, right, bottom in pixels"
                ) from error
        for finding, of_finding in boxes.items():
            yield writer.grounding(film, finding, list(dict.fromkeys(of_finding)))


def _about_findings(
    writer: QuestionWriter, film: LabelledFilm, looked_for: int, rng: np.random.Generator
) -> Iterator[Task]:
    absent = looked_for - len(film.findings) - len(film.unsure)
    most = min(len(OPTION_LETTERS), absent + 1)
    few, many = (min(int(rng.choice([4, 5, 6, 7], p=[0.7, 0.1, 0.1, 0.1])), most) for _ in range(2))
    sure = not film.unsure
    if absent:
        yield writer.binary(film, rng)
    if absent and (film.findings or sure):
        yield writer.single_choice(film, rng, few)
        yield writer.multiple_choice(film, rng, many)
    if absent and sure:
        yield writer.diagnosis(film, rng, min(4, looked_for))
    if looked_for <= _MOST_DESCRIBED:
        yield writer.report(film, rng)


def _texts(films: Sequence[tuple[Label, LabelledFilm]]) -> dict[str, str]:
    """Film to the text that is asked to match it: of its report, or the names of its findings."""
    return {
        film.id: row.sections.get("impression")
        or row.sections.get("findings")
        or f"Findings: {', '.join(film.findings) or NO_FINDING}."
        for row, film in films
        if row.sections or (row.findings is not None and not row.unsure)
    }


def _of_another(
    film: LabelledFilm, texts: dict[str, str], films: Sequence[tuple[Label, LabelledFilm]], rng: np.random.Generator
) -> str | None:
    """The text of another film of the same split, with other findings where they are known; None if a few tries find none."""
    for index in rng.integers(len(films), size=32):
        other = films[index][1]
        if other.split == film.split and texts.get(other.id, texts[film.id]) != texts[film.id]:
            if films[index][0].findings is None or set(other.findings) != set(film.findings):
                return texts[other.id]
    return None


def _films_before(films: Sequence[tuple[Label, LabelledFilm]]) -> dict[str, LabelledFilm]:
    """Film to the labelled one before it of the same patient. A lateral film is not compared with a frontal one."""
    of_patient = defaultdict(list)
    for row, film in films:
        if row.order is not None and row.findings is not None and film.provenance.get("view") != "Lateral":
            of_patient[film.patient].append((row.order, film))
    before = {}
    for dated in of_patient.values():
        dated.sort(key=lambda pair: (pair[0], pair[1].id))
        before |= {later.id: earlier for (then, earlier), (now, later) in zip(dated, dated[1:]) if then < now}
    return before


def _changed(
    before: LabelledFilm, film: LabelledFilm, vocabulary: Sequence[str], rng: np.random.Generator
) -> str | None:
    """A finding of which both films are sure; each kind of change that the two show is as likely as the others."""
    kinds = defaultdict(list)
    for finding in vocabulary:
        if finding not in before.unsure and finding not in film.unsure:
            kinds[finding in before.findings, finding in film.findings].append(finding)
    return str(rng.choice(kinds[sorted(kinds)[rng.integers(len(kinds))]])) if kinds else None
