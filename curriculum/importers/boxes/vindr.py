"""VinDr-CXR: films that three radiologists read, with their boxes; the test films by consensus of five.

Nguyen H. et al., VinDr-CXR, Scientific Data 2022 (Data Records), https://physionet.org/content/vindr-cxr/. PhysioNet's
folder annotations/ has annotations_train.csv (image_id, rad_id, class_name, x_min, y_min, x_max, y_max: a row for each
box of a reader in pixels of the DICOM film, or "No finding"), image_labels_train.csv (image_id, rad_id and a column of
0 or 1 for each finding), and both for the test films, without rad_id. Kaggle's VinBigData has the former as train.csv.

What the readers mean here: a finding that more than half of them name is present, one that fewer name is unsure, one
that none names is denied. A box counts if more than half of the readers drew one that overlaps it; their mean is asked.
"Other lesion" and "Other diseases" are no findings to ask about, but a film with one is not without findings. The files
name no patients: a film counts as one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from curriculum.importers.importer import CLUSTER, OUT, SEED, UNCERTAIN, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.agreement import agreed_boxes
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.film_files import FILMS, FilmFile, find_films
from curriculum.importers.parts.films import import_films
from curriculum.importers.parts.label import OTHERS, Box, Label, read_number
from curriculum.importers.parts.ready_questions import read_split
from curriculum.missing import says_nothing
from curriculum.taskset import TaskSetError

if TYPE_CHECKING:
    from curriculum.sets.mapped import Spread

PROVENANCE: dict[str, object] = {
    "source": "vindr-cxr",
    "licence": "PhysioNet Credentialed Health Data License 1.5.0: credentialed users only",
    "attribution": "Nguyen et al., VinDr-CXR, PhysioNet; Scientific Data 2022",
}
_NOTHING = "No finding"
_UNNAMED = ("Other lesion", "Other disease", "Other diseases")
_EDGES = ("x_min", "y_min", "x_max", "y_max")
_DISAGREED = "findings are present, but no box of them is by more than half of the readers; where they are is not asked"


@dataclass
class _Film:
    """What the tables say of a film.

    Attributes:
        where: the first row about it, for messages.
        split: train or test.
        named: reader to the findings that the reader names.
        looked_for: the findings of the table of image labels; none without a row in it.
        boxes: finding to the boxes of each reader.
    """

    where: str
    split: str
    named: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    looked_for: set[str] = field(default_factory=set)
    boxes: defaultdict[str, list[tuple[str, Box]]] = field(default_factory=lambda: defaultdict(list))


def import_vindr(
    images: Path,
    labels: Sequence[Path],
    out: Path,
    sizes: Path | None = None,
    seed: int = 0,
    uncertain: bool = False,
    cluster: Spread = map,
) -> ImportSummary:
    """Writes `out`/tasks.parquet, with every family of question that the readers answer.

    Args:
        images: folder with the films, DICOM, PNG or JPEG, at any depth.
        labels: annotations_*.csv and image_labels_*.csv, or Kaggle's train.csv.
        out: folder for the task set, and for PNG files of DICOM films.
        sizes: Kaggle's train_meta.csv (image_id, dim0, dim1: height and width of the DICOM film); needed if the PNG or
            JPEG films were scaled.
        seed: of the questions, and of the splits without test films.
        uncertain: whether to ask about findings that half of the readers, or fewer, name.
        cluster: who reads the films.

    Raises:
        TaskSetError: a file cannot be used, or boxes lie outside a film; see also `film_files.find_films` and
            `films.import_films`.
    """
    skipped = Skipped()
    read: dict[str, _Film] = {}
    for path in labels:
        _read(path, read)
    if all(film.split == "train" for film in read.values()):
        for film in read.values():
            film.split = ""
    given = _read_sizes(sizes) if sizes else {}
    files = find_films(images, {name: film.where for name, film in read.items()}, labels[0], out, skipped, cluster)
    local = {finding for film in read.values() for finding in film.boxes} - set(_UNNAMED)
    vocabulary = sorted(local.union(*(film.looked_for for film in read.values())))
    remarks: Counter[str] = Counter()
    found = []
    for name, file in files.items():
        film = read[name]
        film.looked_for |= local
        label = _label(name, film, file, vocabulary, remarks)
        found.append(replace(label, size=given.get(name) or _own_size(film, file)) if label.boxes else label)
    summary = import_films(found, images, labels[0], out, vocabulary, seed, skipped, uncertain)
    summary.remarks = remarks
    return summary


def _read(path: Path, films: dict[str, _Film]) -> None:
    """Adds what a table of boxes or of image labels says."""
    split = read_split(None, path, str(path))
    for place, row in read_csv(path, ("image_id",), "VinDr-CXR's annotations_train.csv or image_labels_train.csv"):
        where = f"{place}, image {row['image_id']!r}"
        film = films.setdefault(row["image_id"], _Film(where, split or "train"))
        reader = row.get("rad_id") or row.get("rad_ID", "")
        named = film.named[reader]
        if "class_name" in row:
            if says_nothing(row["class_name"]):
                raise TaskSetError(
                    f"{where}: class_name is {row['class_name']!r:.40}; a finding, or {_NOTHING!r}, is needed"
                )
            named.add(row["class_name"])
            if row["class_name"] != _NOTHING:
                edges = [read_number(where, name, row.get(name, "")) for name in _EDGES]
                left, top, right, bottom = edges
                if left >= right or top >= bottom:
                    raise TaskSetError(f"{where}: the box {edges} has no area; it is {', '.join(_EDGES)} in pixels")
                film.boxes[row["class_name"]].append((reader, (row["class_name"], left, top, right, bottom)))
            continue
        findings = [name for name in row if name not in ("image_id", "rad_id", "rad_ID")]
        if _NOTHING not in findings:
            raise TaskSetError(f"{path}: neither class_name nor {_NOTHING!r} is a column; found {list(row)}")
        for name in findings:
            if read_number(where, name, row[name] or "0") == 1:
                named.add(name)
        film.looked_for.update(set(findings) - {_NOTHING, *_UNNAMED})


def _label(name: str, film: _Film, file: FilmFile, vocabulary: Sequence[str], remarks: Counter[str]) -> Label:
    votes = Counter(finding for named in film.named.values() for finding in named if finding != _NOTHING)
    readers = len(film.named)
    present = tuple(finding for finding in vocabulary if 2 * votes[finding] > readers)
    unsure = tuple(finding for finding in vocabulary if finding not in present and votes[finding])
    others = (OTHERS,) if any(votes[finding] for finding in _UNNAMED) else ()
    boxes: list[Box] = []
    for finding in present:
        agreed = agreed_boxes(film.boxes[finding], readers)
        if film.boxes[finding] and not agreed:
            remarks[_DISAGREED] += 1
        boxes += agreed
    return Label(
        film.where,
        id=name,
        file=file.file,
        patient=name,
        findings=present,
        unsure=unsure + others,
        denied=tuple(finding for finding in film.looked_for if not votes[finding]),
        unasked=tuple(finding for finding in vocabulary if finding not in film.looked_for),
        split=film.split,
        provenance=file.strata | PROVENANCE,
        boxes=tuple(boxes),
    )


def _own_size(film: _Film, file: FilmFile) -> tuple[int, int]:
    """The size of the file, if all boxes lie in it; a PNG that was scaled does not have that of the film."""
    for marked in film.boxes.values():
        for _, (finding, _, _, right, bottom) in marked:
            if not file.dicom and (right > file.size[0] + 1 or bottom > file.size[1] + 1):
                raise TaskSetError(
                    f"{film.where}: a box of {finding} ends at {right:g}, {bottom:g}, outside the image of "
                    f"{file.size}; if the images were scaled, give the films' own sizes (--sizes train_meta.csv)"
                )
    return file.size


def _read_sizes(path: Path) -> dict[str, tuple[float, float]]:
    """Film to its width and height."""
    sizes = {}
    for place, row in read_csv(path, ("image_id", "dim0", "dim1"), "train_meta.csv"):
        height, width = (read_number(place, name, row[name]) for name in ("dim0", "dim1"))
        if min(height, width) <= 0:
            raise TaskSetError(f"{place}: a film of {width:g} × {height:g} pixels; both must be above 0")
        sizes[row["image_id"]] = (width, height)
    return sizes


VINDR = Importer(
    "vindr",
    "VinDr-CXR: questions on findings and place, from the readings of several radiologists.",
    (
        FILMS,
        Option("labels", "annotations_*.csv, image_labels_*.csv, or Kaggle's train.csv; may be repeated", "paths"),
        OUT,
        Option("sizes", "train_meta.csv, if the images were scaled", "path", required=False),
        SEED,
        UNCERTAIN,
        CLUSTER,
    ),
    import_vindr,
)
