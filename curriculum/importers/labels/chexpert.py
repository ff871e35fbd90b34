"""CheXpert: train.csv and valid.csv, with the films in train/ and valid/.

Irvin J. et al., CheXpert, AAAI 2019, https://stanfordmlgroup.github.io/competitions/chexpert/. A label of train.csv was
mined from the report: 1.0 present, 0.0 absent, -1.0 uncertain, blank not mentioned. The films of valid.csv (and of
the test set) were read by radiologists.

What a label means here:

* -1.0 is unsure: never asked, or with --uncertain as a question whose right answer is "Uncertain".
* Blank is absent, since radiologists do not list what they do not see. Two findings include others: "Lung Opacity" and
  "Enlarged Cardiomediastinum". They are often blank if the report names a finding that they include; then they are
  unsure unless they are labelled present.
* "No Finding" excludes the findings, but not devices and uncertain labels. A report of something beyond the 13 findings
  has neither "No Finding" nor a finding, so nothing is known about the findings of its film.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from curriculum.importers.importer import IMAGES, OUT, SEED, UNCERTAIN, Importer, ImportSummary, Option
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.films import import_films, path_key
from curriculum.importers.parts.label import Label, read_age
from curriculum.taskset import TaskSetError

DEVICES = "Support Devices"
FINDINGS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    DEVICES,
)
COLUMNS = ("No Finding", *FINDINGS)
INCLUDES = {
    "Enlarged Cardiomediastinum": ("Cardiomegaly",),
    "Lung Opacity": ("Atelectasis", "Consolidation", "Edema", "Lung Lesion", "Pneumonia"),
}
PROVENANCE: dict[str, object] = {
    "source": "chexpert",
    "licence": "Stanford University Dataset Research Use Agreement: non-commercial research only",
    "attribution": "Stanford ML Group / Irvin et al., CheXpert, AAAI 2019",
}
_PATH = re.compile(r"(?:^|/)(train|valid|test)/(patient\d+)/study(\d+)/(\w+)\.\w+$")
_SPLITS = {
    "train": "train",
    "valid": "test",
    "test": "test",
}  # films that radiologists read are for tests; val is taken from train


def import_chexpert(
    images: Path, labels: Sequence[Path], out: Path, seed: int = 0, uncertain: bool = False
) -> ImportSummary:
    """Writes `out`/tasks.parquet, with every family of question that CheXpert's labels answer.

    With valid.csv, the films of valid/ become the test split; with train.csv alone, patients are split by the seed.

    Args:
        images: folder with the films, at any depth.
        labels: train.csv, valid.csv, or both.
        out: folder for the task set.
        seed: of the questions, and of the splits with train.csv alone.
        uncertain: whether to ask about uncertain labels.

    Raises:
        TaskSetError: a label file cannot be used; see also `films.import_films`.
    """
    films: list[Label] = []
    for path in labels:
        films += _read(path)
    if all(film.split == "train" for film in films):
        films = [replace(film, split="") for film in films]
    return import_films(films, images, labels[0], out, FINDINGS, seed, uncertain=uncertain)


class Findings(NamedTuple):
    """What the 14 label columns of a row say.

    Attributes:
        present: findings; None if "No Finding" does not agree with the other labels.
        unsure: findings that may be present.
        denied: findings that are labelled absent.
    """

    present: tuple[str, ...] | None = None
    unsure: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()


def read_findings(where: str, row: dict[str, str]) -> Findings:
    """The findings in the 14 label columns of a row.

    Raises:
        TaskSetError: a label is none of 1.0, 0.0, -1.0 and blank.
    """
    labels = {name: _label(where, name, row[name]) for name in COLUMNS}
    present = tuple(name for name in FINDINGS if labels[name] == 1)
    unsure = tuple(name for name in FINDINGS if _is_unsure(name, labels))
    healthy = labels["No Finding"] == 1
    agree = set(present) <= {DEVICES} if healthy else bool(present or unsure)
    denied = tuple(name for name in FINDINGS if labels[name] == 0 and name not in unsure)
    return Findings(present, unsure, denied) if agree else Findings()


def _is_unsure(name: str, labels: dict[str, float | None]) -> bool:
    """Whether a finding is labelled uncertain, or includes one that is or may be present."""
    if labels[name] in (1, -1):
        return labels[name] == -1
    return any(labels[part] in (1, -1) for part in INCLUDES.get(name, ()))


def _label(where: str, name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = None
    if value not in (1, 0, -1):
        raise TaskSetError(f"{where}: {name} is {text!r}; a label is 1.0, 0.0, -1.0 or blank")
    return value


def _read(path: Path) -> Iterator[Label]:
    for place, row in read_csv(path, ("Path", *COLUMNS), "CheXpert's train.csv or valid.csv"):
        where = f"{place}, image {row['Path']!r}"
        match = _PATH.search(path_key(row["Path"]))
        if not match:
            raise TaskSetError(f"{where}: a path ends like train/patient00001/study1/view1_frontal.jpg")
        folder, patient, study, view = match.groups()
        findings = read_findings(where, row)
        frontal = row["AP/PA"] if row.get("AP/PA") in ("AP", "PA") else ""
        strata: dict[str, object] = {
            "view": "Lateral" if view.endswith("lateral") else frontal,
            "sex": {"Female": "F", "Male": "M"}.get(row.get("Sex", ""), ""),
            "age": read_age(row.get("Age")),
        }
        yield Label(
            where,
            id=f"{patient}-study{study}-{view}",
            # Without train/: the archives unpack to "CheXpert-v1.0 batch 2 (train 1)/patient00001/…".
            file=match.group().lstrip("/").partition("/")[2],
            patient=patient,
            findings=findings.present,
            unsure=findings.unsure,
            denied=findings.denied,
            split=_SPLITS[folder],
            provenance=PROVENANCE | strata,
            order=int(study),
        )


CHEXPERT = Importer(
    "chexpert",
    "CheXpert: questions on findings, view and progression.",
    (IMAGES, Option("labels", "train.csv, valid.csv; may be repeated", "paths"), OUT, SEED, UNCERTAIN),
    import_chexpert,
)
