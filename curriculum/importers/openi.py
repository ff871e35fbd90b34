"""Open-i's Indiana University chest X-rays: the XML reports (ecgen-radiology) and the PNG films.

Demner-Fushman D. et al., JAMIA 2016, https://openi.nlm.nih.gov. Every report names its films, but not its patient, so a
report counts as a patient. Of findings only "normal" is taken from its MeSH terms; abnormal reports are asked by their text.
The reports are de-identified with XXXX. Open-i does not say which film is frontal.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from curriculum.importers.films import ImportSummary, Label, import_films
from curriculum.taskset import TaskSetError

PROVENANCE = {
    "source": "openi-iu",
    "licence": "CC BY-NC-ND 4.0",
    "attribution": "Indiana University / Demner-Fushman et al., JAMIA 2016, via Open-i, NLM",
}
_NO_FILM = "of reports that name none"


def import_openi(images: Path, reports: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet, with every family of question that the reports answer.

    Args:
        images: folder with the films (CXR1_1_IM-0001-3001.png), at any depth.
        reports: folder with the reports (1.xml), at any depth.

    Raises:
        TaskSetError: there is no report, or one cannot be read; see also `films.import_films`.
    """
    skipped: Counter[str] = Counter()
    paths = sorted(reports.rglob("*.xml"))
    if not paths:
        raise TaskSetError(f"{reports}: no report is below this folder; Open-i's are named like ecgen-radiology/1.xml")
    return import_films(
        (row for path in paths for row in _read(path, skipped)), images, reports, out, (), seed, skipped
    )


def _read(path: Path, skipped: Counter[str]) -> Iterator[Label]:
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise TaskSetError(f"{path}: not a readable XML report ({error})") from error
    name = root.find("uId")
    if name is None or not name.get("id"):
        raise TaskSetError(f'{path}: no report of Open-i; one has an element such as <uId id="CXR1"/>')
    texts = {element.get("Label"): " ".join((element.text or "").split()) for element in root.iter("AbstractText")}
    films = [element.get("id", "") for element in root.findall("parentImage")]
    if not films:
        skipped[_NO_FILM] += 1
    normal = [term.text for term in root.findall("MeSH/major")] == ["normal"]
    for film in films:
        yield Label(
            f"{path}: image {film!r}",
            film,
            f"{film}.png",
            name.get("id"),
            () if normal else None,
            provenance=PROVENANCE,
            indication=texts.get("INDICATION", ""),
            sections={
                section: texts[section.upper()] for section in ("findings", "impression") if texts.get(section.upper())
            },
        )
