"""Open-i's Indiana University chest X-rays: the XML reports (ecgen-radiology) and the PNG films.

Demner-Fushman D. et al., JAMIA 2016, https://openi.nlm.nih.gov. Every report names its films, but not its patient, so a
report counts as a patient. Of the MeSH terms only "normal" is used; about abnormal reports, only their text is asked,
unless a table of labels is given: NegBio's (https://github.com/ncbi-nlp/NegBio) has a row for each report. The reports
are de-identified with XXXX. Open-i does not say which film is frontal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.labels.nih import FINDINGS
from curriculum.importers.parts.files import read_csv
from curriculum.importers.parts.films import import_films
from curriculum.importers.parts.label import Label
from curriculum.importers.parts.reports import section_name
from curriculum.importers.parts.text_questions import import_texts
from curriculum.missing import says_nothing, valid_text
from curriculum.taskset import TaskSetError

PROVENANCE = {
    "source": "openi-iu",
    "licence": "CC BY-NC-ND 4.0",
    "attribution": "Indiana University / Demner-Fushman et al., JAMIA 2016, via Open-i, NLM",
}
_UNREADABLE = "of reports that are no readable XML"
_NO_REPORT = 'of files that are no report of Open-i (one has an element such as <uId id="CXR1"/>)'
_NO_FILM = "of reports that name none"


def import_openi(
    images: Path | None, reports: Path, out: Path, labels: Path | None = None, seed: int = 0
) -> ImportSummary:
    """Writes `out`/tasks.parquet, with every family of question that the reports answer.

    Args:
        images: folder with the films (CXR1_1_IM-0001-3001.png), at any depth; None asks about the texts of the reports
            alone (`text_questions`), which needs `labels`.
        reports: folder with the reports (1.xml), at any depth.
        out: folder for the task set.
        labels: a CSV with NIH's findings of each report as 0 or 1; without it nothing is asked about findings.
        seed: of the questions and the splits.

    Raises:
        TaskSetError: there is no report, or the labels cannot be used or are missing; see also `films.import_films`
            and `text_questions.import_texts`.
    """
    skipped = Skipped()
    paths = sorted(reports.rglob("*.xml"))
    if not paths:
        raise TaskSetError(f"{reports}: no report is below this folder; Open-i's are named like ecgen-radiology/1.xml")
    found = None if labels is None else _read_labels(labels)
    films = (film for path in paths for film in _read(path, found, skipped, with_films=images is not None))
    if images is None:
        if labels is None:
            raise TaskSetError(f"{reports}: without --images, --labels are needed: the findings that the texts state")
        return import_texts(films, reports, out, FINDINGS, seed, skipped)
    return import_films(films, images, reports, out, FINDINGS if labels else (), seed, skipped)


def _read_labels(path: Path) -> dict[str, tuple[str, ...]]:
    """The findings of each report, by its id."""
    columns = {name: name.replace(" ", "_") for name in FINDINGS}
    found: dict[str, tuple[str, ...]] = {}
    for place, row in read_csv(path, ("filename", *columns.values()), "a table of labels such as NegBio's"):
        cells = {name: row[column] for name, column in columns.items()}
        stray = next((name for name, cell in cells.items() if cell not in ("0", "1")), None)
        if stray:
            raise TaskSetError(f"{place}: {columns[stray]} is {cells[stray]!r}; it must be 0 or 1")
        found[row["filename"]] = tuple(name for name, cell in cells.items() if cell == "1")
    return found


def _read(
    path: Path, labels: dict[str, tuple[str, ...]] | None, skipped: Skipped, with_films: bool = True
) -> Iterator[Label]:
    """A label for each film of a report or, without films, one for the report."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        skipped.note(_UNREADABLE, f"{path.name}: {error}")
        return
    element = root.find("uId")
    report = valid_text("" if element is None else element.get("id", ""))
    if not report:
        skipped.note(_NO_REPORT, path.name)
        return
    texts = _texts(root)
    films = [element.get("id", "") for element in root.findall("parentImage")] if with_films else [report]
    if not films:
        skipped[_NO_FILM] += 1
    sections: dict[str, str] = {name: texts[name] for name in ("findings", "impression") if name in texts}
    normal = [term.text for term in root.findall("MeSH/major")] == ["normal"]
    findings = (() if normal else None) if labels is None else labels.get(report)
    for film in films:
        yield Label(
            f"{path}: image {film!r}",
            id=film,
            file=f"{film}.png",
            patient=report,
            findings=findings,
            provenance=PROVENANCE,
            indication=texts.get("indication", ""),
            sections=sections,
        )


def _texts(root: ElementTree.Element) -> dict[str, str]:
    """The sections of a report by their usual names; one that holds nothing but marks of de-identification is none."""
    texts: dict[str, str] = {}
    for element in root.iter("AbstractText"):
        text = valid_text(" ".join("".join(element.itertext()).split()))
        if not says_nothing(text):
            texts.setdefault(section_name(element.get("Label") or ""), text)
    return texts


OPENI = Importer(
    "openi",
    "Open-i (Indiana University): sections of the report, whether a text belongs to a film and, with labels, findings; "
    "or the texts of the reports alone.",
    (
        replace(IMAGES, help=f"{IMAGES.help}; without it, the texts alone are asked about", required=False),
        Option("reports", "folder with the XML reports, at any depth", "path"),
        OUT,
        Option("labels", "NegBio's labels of the reports, to ask about findings", "path", required=False),
        SEED,
    ),
    import_openi,
)
