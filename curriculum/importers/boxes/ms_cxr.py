"""MS-CXR: sentences of MIMIC-CXR's reports, with the boxes in which radiologists saw what they say.

Boecking B. et al., MS-CXR, ECCV 2022, https://physionet.org/content/ms-cxr/ (Data Description). The file
MS_CXR_Local_Alignment_v1.*.csv has a row for each box: dicom_id, category_name (one of eight findings), label_text,
path (files/p10/p10000032/s50414267/….jpg), x, y, w, h in pixels of a film of image_width × image_height, and in 1.1
split. Boxes of one sentence are one question. What else a film shows is not said, so nothing is asked about findings.
"""

from __future__ import annotations

from pathlib import Path

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.films import import_films
from curriculum.importers.parts.label import Box, Label, read_number
from curriculum.importers.parts.mimic_films import LICENCE, OPTIONAL_TABLES, films_by_id, patient_of_path
from curriculum.importers.parts.ready_questions import read_split
from curriculum.missing import says_nothing
from curriculum.taskset import TaskSetError

PROVENANCE: dict[str, object] = {
    "source": "ms-cxr",
    "licence": LICENCE,
    "attribution": "Boecking et al., MS-CXR, PhysioNet; ECCV 2022",
}
_COLUMNS = ("dicom_id", "label_text", "path", "x", "y", "w", "h", "image_width", "image_height")


def import_ms_cxr(images: Path, labels: Path, out: Path, tables: Path | None = None, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet: where is what a sentence says?

    Args:
        images: folder with the films of MIMIC-CXR-JPG, at any depth.
        labels: MS_CXR_Local_Alignment_v1.*.csv.
        out: folder for the task set.
        tables: folder with MIMIC-CXR-JPG's metadata and splits; with None, the column split is kept, or patients are
            split by the seed.
        seed: of the splits.

    Raises:
        TaskSetError: the file cannot be used; see also `films.import_films`.
    """
    known = films_by_id(tables)
    films: dict[str, Label] = {}
    phrases: dict[str, list[Box]] = {}
    for place, row in read_csv(labels, _COLUMNS, "MS-CXR's MS_CXR_Local_Alignment_v1.*.csv"):
        id = row["dicom_id"]
        where = f"{place}, image {id!r}"
        if not id or says_nothing(row["label_text"]):
            raise TaskSetError(f"{where}: the image or the sentence is missing; both are needed")
        x, y, w, h, *size = (read_number(where, name, row[name]) for name in _COLUMNS[3:])
        if min(size) <= 0:
            raise TaskSetError(f"{where}: image_width or image_height is not above 0")
        phrases.setdefault(id, []).append((" ".join(row["label_text"].split()), x, y, x + w, y + h))
        film = known.get(id)
        films[id] = Label(
            where,
            id=id,
            file=f"{id}.jpg",
            patient=patient_of_path(row["path"]) or id,
            split=film.split if film else read_split(row.get("split"), Path(), where),
            provenance=PROVENANCE | {"view": film.view if film else ""},
            phrases=tuple(phrases[id]),
            size=(size[0], size[1]),
        )
    return import_films(films.values(), images, labels, out, (), seed)


MS_CXR = Importer(
    "ms-cxr",
    "MS-CXR: where on films of MIMIC-CXR is what a sentence of the report says.",
    (IMAGES, Option("labels", "MS_CXR_Local_Alignment_v1.*.csv", "path"), OUT, OPTIONAL_TABLES, SEED),
    import_ms_cxr,
)
