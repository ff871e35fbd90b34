"""An importer for a data set of your own: a CSV file with the columns film, patient and findings.

    film,patient,findings
    a/001.png,7,Edema;Effusion
    a/002.png,8,

    python examples/own_importer.py IMAGES labels.csv OUT
    curlvpr train recipes/nih_small.yaml --set data.tasks=OUT

To make it a command, `curlvpr data import list`, move this file to curriculum/importers/labels/ and name it in
`IMPORTERS` (docs/own-data.md#add-an-importer).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.films import import_films
from curriculum.importers.parts.label import Label
from curriculum.taskset import TaskSetError

VOCABULARY = ("Atelectasis", "Cardiomegaly", "Edema", "Effusion", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
"""All findings that the films were read for: one that a row does not name is absent."""


def import_list(images: Path, labels: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet with every question that the findings answer.

    Args:
        images: folder with the films, at any depth.
        labels: the CSV file.
        out: folder for the task set.
        seed: of the questions and the splits.

    Raises:
        TaskSetError: the file cannot be used; see also `films.import_films`.
    """
    return import_films(_read(labels), images, labels, out, VOCABULARY, seed)


def _read(path: Path) -> Iterator[Label]:
    for where, row in read_csv(path, ("film", "patient", "findings"), "the list of films"):
        yield Label(
            where,
            id=row["film"],
            file=row["film"],
            patient=row["patient"],
            findings=tuple(name for name in row["findings"].split(";") if name),
            provenance={"source": "own-list", "licence": "unknown", "attribution": "our hospital"},
        )


LIST = Importer(
    "list",
    "A CSV file with the columns film, patient and findings.",
    (IMAGES, Option("labels", "the CSV file", "path"), OUT, SEED),
    import_list,
)

if __name__ == "__main__":
    try:
        summary = import_list(*map(Path, sys.argv[1:4]))
    except TaskSetError as error:
        sys.exit(str(error))
    print(*summary.lines(), sep="\n")
