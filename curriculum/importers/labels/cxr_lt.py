"""CXR-LT 2024: 45 labels of MIMIC-CXR's films, a few common ones and many rare ones.

Holste G. et al. and Lin M. et al. (arXiv 2506.07984), https://physionet.org/content/cxr-lt-iccv-workshop-cvamd/2.0.0/,
folder cxr-lt-2024. Its tables have dicom_id, subject_id, study_id, ViewPosition, fpath and a column of 0 or 1 for each
label: labels.csv all 45, with the column split; train_labeled.csv, development_labeled_task1.csv and
test_labeled_task1.csv 40 of them, …_task2.csv 26, …_task3.csv the five of the zero-shot task. The labels were mined
from the reports (those of task 2's test by hand): 0 is not mentioned, or denied. "Normal" excludes the findings, but
not devices.

Each task's `source` says which part of the distribution its film belongs to, by the rarest label that the film shows:
cxr-lt-2024/head (above 10 % of the train films), /medium (1 to 10 %), /tail (below 1 %) or /zero-shot. Nothing is asked
about the five zero-shot labels in train, so that they stay unseen; a list of all findings is not asked of a film that
shows one there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.films import import_films
from curriculum.importers.parts.label import OTHERS, Label, read_number
from curriculum.importers.parts.mimic_films import LICENCE, VIEWS
from curriculum.importers.parts.ready_questions import read_split
from curriculum.taskset import TaskSetError

SOURCE = "cxr-lt-2024"
PROVENANCE: dict[str, object] = {
    "licence": LICENCE,
    "attribution": "Holste et al., CXR-LT 2024, PhysioNet; Johnson et al., MIMIC-CXR-JPG",
}
ZERO_SHOT = ("Bulla", "Cardiomyopathy", "Hilum", "Osteopenia", "Scoliosis")
HEALTHY = ("Normal", "No Finding")
DEVICES = "Support Devices"
HEAD, TAIL = 0.1, 0.01  # shares of the train films that part head, medium and tail
_NO_LABELS = {"dicom_id", "subject_id", "study_id", "ViewPosition", "ViewCodeSequence_CodeMeaning"} | {
    *("fpath", "path", "split")
}
_RAREST_FIRST = ("zero-shot", "tail", "medium")


@dataclass(frozen=True)
class _Row:
    """A row of a table, with the labels that the table has and those that are 1."""

    where: str
    id: str
    patient: str
    view: str
    split: str
    labels: frozenset[str]
    shown: tuple[str, ...]
    healthy: bool


def import_cxr_lt(images: Path, labels: Sequence[Path], out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet, with every family of question that the labels answer.

    Args:
        images: folder with the films of MIMIC-CXR-JPG, at any depth.
        labels: labels.csv, or tables whose names say their split.
        out: folder for the task set.
        seed: of the questions.

    Raises:
        TaskSetError: a table cannot be used; see also `films.import_films`.
    """
    skipped = Skipped()
    rows = list(chain.from_iterable(map(_read, labels)))
    vocabulary = sorted(set().union(*(row.labels for row in rows)))
    parts = _parts(rows, vocabulary)
    films = (_label(row, vocabulary, parts) for row in rows)
    return import_films(films, images, labels[0], out, vocabulary, seed, skipped)


def _read(path: Path) -> Iterator[_Row]:
    for place, row in read_csv(path, ("dicom_id", "subject_id"), "CXR-LT's labels.csv or train_labeled.csv"):
        where = f"{place}, image {row['dicom_id']!r}"
        labels = [name for name in row if name not in _NO_LABELS]
        if not row["dicom_id"] or not row["subject_id"] or not labels:
            raise TaskSetError(f"{where}: dicom_id, subject_id and columns of labels are needed; found {list(row)}")
        values = {name: read_number(where, name, row[name] or "0") for name in labels}
        odd = next((name for name, value in values.items() if value not in (0, 1)), None)
        if odd:
            raise TaskSetError(f"{where}: {odd} is {row[odd]!r}; a label is 0 or 1")
        yield _Row(
            where,
            row["dicom_id"],
            f"p{row['subject_id']}",
            VIEWS.get(row.get("ViewPosition", ""), ""),
            read_split(row.get("split"), path, where),
            frozenset(labels) - set(HEALTHY),
            tuple(name for name, value in values.items() if value and name not in HEALTHY),
            any(values.get(name) for name in HEALTHY),
        )


def _parts(rows: Sequence[_Row], vocabulary: Sequence[str]) -> dict[str, str]:
    """Label to its part of the distribution, by its share of the train films; of all, if there are none."""
    counted = [row for row in rows if row.split == "train"] or rows
    shown = Counter(chain.from_iterable(row.shown for row in counted))
    parts = {}
    for label in vocabulary:
        parts[label] = _part(label, shown[label] / len(counted))
    return parts


def _part(label: str, share: float) -> str:
    if label in ZERO_SHOT:
        return "zero-shot"
    if share > HEAD:
        return "head"
    return "medium" if share >= TAIL else "tail"


def _label(row: _Row, vocabulary: Sequence[str], parts: dict[str, str]) -> Label:
    unseen = ZERO_SHOT if row.split in ("train", "") else ()
    shown = tuple(name for name in row.shown if name not in unseen)
    hidden = tuple(name for name in row.shown if name in unseen)
    missing = set(vocabulary) - row.labels - set(ZERO_SHOT)
    agree = set(row.shown) <= {DEVICES} if row.healthy else bool(row.shown)
    if not row.healthy and (missing or not row.labels - set(ZERO_SHOT)):
        agree, hidden = True, (*hidden, OTHERS)  # the table has not looked for all labels
    parts_shown = {parts[name] for name in shown}
    part = next((part for part in _RAREST_FIRST if part in parts_shown), "head")
    return Label(
        row.where,
        id=row.id,
        file=f"{row.id}.jpg",
        patient=row.patient,
        findings=shown if agree else None,
        unsure=hidden,
        unasked=tuple(name for name in vocabulary if name not in row.labels or name in unseen),
        split=row.split,
        provenance=PROVENANCE | {"source": f"{SOURCE}/{part}", "view": row.view},
    )


CXR_LT = Importer(
    "cxr-lt",
    "CXR-LT 2024: questions on 45 long-tailed findings of MIMIC-CXR's films, zero-shot ones among them.",
    (
        IMAGES,
        Option("labels", "labels.csv, or train_labeled.csv, test_labeled_task1.csv, …; may be repeated", "paths"),
        OUT,
        SEED,
    ),
    import_cxr_lt,
)
