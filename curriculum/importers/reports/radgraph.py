"""RadGraph: reports of MIMIC-CXR as graphs of observations and anatomy, read as labels of the films.

Jain S. et al., RadGraph, NeurIPS Datasets and Benchmarks 2021, https://physionet.org/content/radgraph/ (Data
Description). MIMIC-CXR_graphs.json, train.json, dev.json and test.json hold an object of objects by report
(p18/p18004941/s58821758.txt), each with `entities`: number to tokens, label (OBS-DP, OBS-U and OBS-DA: an observation
that is definitely present, uncertain, definitely absent; ANAT-DP: anatomy) and relations ([kind, number]: modify,
located_at, suggestive_of). In test.json, labeler_1 and labeler_2 have such entities each.

What a graph means here: an observation is a finding by `RULES`, which look at its words and at those of the entities
that it is related to (an effusion that is located at the pericardium is none of the pleura). A finding that is present
somewhere is present; one that is uncertain, or on which two labelers disagree, is unsure; others are absent, since
radiologists do not list what they do not see. A report that has observations beyond these findings, and none of them,
does not say that its films show nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from curriculum.importers.importer import IMAGES, OUT, SEED, UNCERTAIN, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.films import import_films
from curriculum.importers.parts.label import OTHERS, Label
from curriculum.importers.parts.mimic_films import LICENCE, TABLES, MimicFilm, find_table, read_mimic_films
from curriculum.importers.parts.ready_questions import files_of, read_json
from curriculum.taskset import TaskSetError

PROVENANCE: dict[str, object] = {
    "source": "radgraph",
    "licence": LICENCE,
    "attribution": "Jain et al., RadGraph, PhysioNet; Johnson et al., MIMIC-CXR-JPG",
}


class Rule(NamedTuple):
    """When an observation is a finding.

    Attributes:
        finding: its name.
        words: one of which the observation has.
        near: one of which it, or a related entity, has; any will do if there are none.
        not_near: none of which it, or a related entity, has.
    """

    finding: str
    words: frozenset[str]
    near: frozenset[str] = frozenset()
    not_near: frozenset[str] = frozenset()


def _rule(finding: str, words: str, near: str = "", not_near: str = "") -> Rule:
    return Rule(finding, *(frozenset(text.split()) for text in (words, near, not_near)))


RULES = (
    _rule("Atelectasis", "atelectasis atelectases atelectatic"),
    _rule("Cardiomegaly", "cardiomegaly"),
    _rule("Cardiomegaly", "enlarged enlargement", near="heart cardiac cardiomediastinal"),
    _rule("Consolidation", "consolidation consolidations consolidative"),
    _rule("Edema", "edema"),
    _rule("Emphysema", "emphysema emphysematous", not_near="subcutaneous"),
    _rule("Fibrosis", "fibrosis fibrotic"),
    _rule("Fracture", "fracture fractures fractured"),
    _rule("Hernia", "hernia hernias"),
    _rule("Lung Opacity", "opacity opacities opacification opacifications infiltrate infiltrates"),
    _rule("Mass", "mass masses"),
    _rule("Nodule", "nodule nodules"),
    _rule("Pleural Effusion", "effusion effusions", not_near="pericardial"),
    _rule("Pleural Thickening", "thickening", near="pleural pleura"),
    _rule("Pneumomediastinum", "pneumomediastinum"),
    _rule("Pneumonia", "pneumonia pneumonias"),
    _rule("Pneumothorax", "pneumothorax pneumothoraces"),
)
FINDINGS = tuple(dict.fromkeys(rule.finding for rule in RULES))
_HARMLESS = {
    *("normal", "clear", "unremarkable", "intact", "unchanged", "stable"),
    *("well", "expanded", "inflated", "size", "within", "limits"),
}
"""Words of observations that say that something is as it should be."""
_STATES = {"definitely present": "DP", "uncertain": "U", "definitely absent": "DA"}
_STUDY = re.compile(r"(?:^|/)s(\d+)\.txt$")
_NO_STUDY = "whose name is no report of MIMIC-CXR"
_NO_FILM = "whose study is not in MIMIC-CXR-JPG's metadata"


class _Reading(NamedTuple):
    """What a report says: its findings by their state, and whether it has observations beyond them."""

    present: frozenset[str]
    unsure: frozenset[str]
    denied: frozenset[str]
    others: bool


def import_radgraph(
    images: Path, graphs: Path, tables: Path, out: Path, seed: int = 0, uncertain: bool = False
) -> ImportSummary:
    """Writes `out`/tasks.parquet, with every family of question that the findings answer.

    Args:
        images: folder with the films of MIMIC-CXR-JPG, at any depth.
        graphs: MIMIC-CXR_graphs.json, or a folder with it or with train.json, dev.json and test.json.
        tables: folder with MIMIC-CXR-JPG's metadata and splits.
        out: folder for the task set.
        seed: of the questions.
        uncertain: whether to ask about unsure findings.

    Raises:
        TaskSetError: a file cannot be used; see also `films.import_films`.
    """
    skipped = Skipped()
    readings: dict[str, _Reading] = {}
    for path in files_of(graphs, (".json",)):
        for row in read_json(path, key="report"):
            match = _STUDY.search(row["report"])
            if match:
                readings[match[1]] = _reading(row, f"{path}: report {row['report']!r}")
            else:
                skipped.note(_NO_STUDY, row["report"])
    films: list[Label] = []
    listed = set()
    for film in read_mimic_films(tables):
        listed.add(film.study)
        if film.study in readings:
            films.append(_label(film, readings[film.study]))
    for study in sorted(readings.keys() - listed):
        skipped.note(_NO_FILM, study)
    return import_films(films, images, find_table(tables, "metadata"), out, FINDINGS, seed, skipped, uncertain)


def _label(film: MimicFilm, reading: _Reading) -> Label:
    nothing_else = reading.present or not reading.others
    return Label(
        film.where,
        id=film.id,
        file=f"{film.id}.jpg",
        patient=film.patient,
        findings=tuple(name for name in FINDINGS if name in reading.present),
        unsure=(*(name for name in FINDINGS if name in reading.unsure), *(() if nothing_else else (OTHERS,))),
        denied=tuple(name for name in FINDINGS if name in reading.denied),
        split=film.split,
        provenance=PROVENANCE | {"view": film.view},
        order=film.order,
    )


def _reading(row: dict[str, Any], where: str) -> _Reading:
    """What a report says, by all who annotated it."""
    graphs = [row] if "entities" in row else [row[name] for name in ("labeler_1", "labeler_2") if name in row]
    if not graphs:
        raise TaskSetError(f"{where}: neither 'entities' nor 'labeler_1' is there; the fields are {list(row)}")
    try:
        readings = [_graph_reading(graph["entities"]) for graph in graphs]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TaskSetError(f"{where}: no graph of RadGraph ({type(error).__name__}: {error})") from error
    present = frozenset.intersection(*(reading.present for reading in readings))
    named = frozenset().union(*(reading.present | reading.unsure for reading in readings))
    return _Reading(
        present,
        named - present,
        frozenset().union(*(reading.denied for reading in readings)) - named,
        any(reading.others for reading in readings),
    )


def _graph_reading(entities: Mapping[str, Any]) -> _Reading:
    words = {number: frozenset(str(entity["tokens"]).lower().split()) for number, entity in entities.items()}
    related: dict[str, set[str]] = {number: set(own) for number, own in words.items()}
    for number, entity in entities.items():
        for kind, target in entity["relations"]:
            if kind in ("modify", "located_at"):
                related[number] |= words[target]
                related[target] |= words[number]
    states: dict[str, set[str]] = {"DP": set(), "U": set(), "DA": set()}
    others = False
    for number, entity in entities.items():
        state = _state(str(entity["label"]))
        if not state:
            continue
        found = {rule.finding for rule in RULES if _fits(rule, words[number], related[number])}
        states[state] |= found
        others |= state != "DA" and not found and not words[number] <= _HARMLESS
    present = frozenset(states["DP"])
    unsure = frozenset(states["U"]) - present
    return _Reading(present, unsure, frozenset(states["DA"]) - present - unsure, others)


def _state(label: str) -> str | None:
    """DP, U or DA of an observation ("OBS-DP", "Observation::definitely present"); None of anatomy."""
    kind, _, state = label.replace("::", "-").partition("-")
    if not kind.upper().startswith("OBS"):
        return None
    return _STATES.get(state, state)


def _fits(rule: Rule, own: frozenset[str], related: set[str]) -> bool:
    return bool(own & rule.words) and (not rule.near or bool(related & rule.near)) and not related & rule.not_near


RADGRAPH = Importer(
    "radgraph",
    "RadGraph: questions on the findings that its graphs of MIMIC-CXR's reports name.",
    (
        IMAGES,
        Option("graphs", "MIMIC-CXR_graphs.json, or a folder with it or with train.json, dev.json, test.json", "path"),
        TABLES,
        OUT,
        SEED,
        UNCERTAIN,
    ),
    import_radgraph,
)
