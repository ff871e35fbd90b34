"""Chest ImaGenome: scene graphs of MIMIC-CXR's frontal films: regions, what is said of each, and changes since prior
films.

Wu J. et al., Chest ImaGenome, NeurIPS Datasets and Benchmarks 2021, https://physionet.org/content/chest-imagenome/
(Data Description, scene graph JSON). silver_dataset/scene_graph holds a file for each film, DICOM_ID_SceneGraph.json,
with `objects` (regions: bbox_name, and original_x1, original_y1, original_x2, original_y2 in pixels of the film),
`attributes` (bbox_name, and for each phrase a list such as "anatomicalfinding|yes|atelectasis"), and `relationships`
(bbox_name, attributes, relationship_names such as "comparison|yes|worsened"; subject_id and object_id begin with the
dicom_id of this and of the prior film). Boxes and attributes were made by machines, and some boxes lie outside their
film: those are left out.

Of each film one question of each kind is asked: where a region is; whether a finding is in a region, if the report says
or denies it there; in which region a finding is, wrong being regions that do not overlap one with it; what became of it
there."""

from __future__ import annotations

import json
import os
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curriculum.boxes import Edges, write_box
from curriculum.importers.importer import IMAGES, OUT, SEED, Importer, ImportSummary, Option, Skipped
from curriculum.importers.parts.film_questions import unit
from curriculum.importers.parts.label import read_number
from curriculum.importers.parts.mimic_films import LICENCE, TABLES, MimicFilm, films_by_id
from curriculum.importers.parts.ready_questions import ReadyQuestion, import_questions
from curriculum.questions import DENIED, PRESENT
from curriculum.task import OPTION_LETTERS, Task
from curriculum.taskset import TaskSetError

PROVENANCE = {
    "source": "chest-imagenome",
    "licence": LICENCE,
    "attribution": "Wu et al., Chest ImaGenome, PhysioNet; Johnson et al., MIMIC-CXR-JPG",
}
CHANGES = {"improved": "Improved", "worsened": "Worsened", "no change": "No change"}
OTHER_REGION = "other region"
_SUFFIX = "_SceneGraph.json"
_KINDS = ("anatomicalfinding", "disease", "tubesandlines", "device")
_EDGES = ("original_x1", "original_y1", "original_x2", "original_y2")
_APART = 0.1  # of the smaller region; regions that share less do not overlap
_OPTIONS = 4
_NO_FILM = "of films that MIMIC-CXR-JPG's metadata do not list"
_NO_PRIOR = "that compare with a film that MIMIC-CXR-JPG's metadata do not list"


@dataclass(frozen=True)
class _Scene:
    """A scene graph.

    Attributes:
        where: its file, for messages.
        film: what it is of.
        regions: name to its box in pixels, those with one in the film.
        present: finding to the regions where the report says that it is.
        denied: finding to the regions where the report says that it is not.
        changes: (prior film, finding, region) to the changes that the report states.
    """

    where: str
    film: MimicFilm
    regions: dict[str, Edges]
    present: Mapping[str, set[str]]
    denied: Mapping[str, set[str]]
    changes: Mapping[tuple[str, str, str], set[str]]


def import_imagenome(images: Path, graphs: Path, tables: Path, out: Path, seed: int = 0) -> ImportSummary:
    """Writes `out`/tasks.parquet.

    Args:
        images: folder with the films of MIMIC-CXR-JPG, at any depth.
        graphs: folder with the scene graphs, at any depth, or scene_graph.zip.
        tables: folder with MIMIC-CXR-JPG's metadata and splits, which give sizes, views and splits.
        out: folder for the task set.
        seed: of the questions.

    Raises:
        TaskSetError: a file cannot be used; see also `ready_questions.import_questions`.
    """
    skipped = Skipped()
    films = films_by_id(tables)
    questions: list[ReadyQuestion] = []
    for scene in _scenes(graphs, films, skipped):
        questions += _questions(scene, films, seed, skipped)
    return import_questions(questions, images, graphs, out, seed, skipped)


def _scenes(graphs: Path, films: Mapping[str, MimicFilm], skipped: Skipped) -> Iterator[_Scene]:
    for where, content in _files(graphs):
        id = os.path.basename(where).removesuffix(_SUFFIX)
        if id not in films:
            skipped.note(_NO_FILM, id)
            continue
        try:
            scene = _scene(where, films[id], json.loads(content))
        except TaskSetError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise TaskSetError(
                f"{where}: no scene graph of Chest ImaGenome ({type(error).__name__}: {error})"
            ) from error
        yield scene


def _files(graphs: Path) -> Iterator[tuple[str, bytes]]:
    """The path and content of every scene graph, by name."""
    if graphs.is_dir():
        paths = sorted(graphs.rglob(f"*{_SUFFIX}"))
        if not paths:
            raise TaskSetError(f"{graphs}: no file is below this folder whose name ends with {_SUFFIX}")
        for path in paths:
            yield str(path), path.read_bytes()
        return
    try:
        with zipfile.ZipFile(graphs) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(_SUFFIX):
                    yield f"{graphs}/{name}", archive.read(name)
    except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise TaskSetError(f"{graphs}: neither a folder of scene graphs nor scene_graph.zip ({error})") from error


def _scene(where: str, film: MimicFilm, graph: Any) -> _Scene:
    width, height = (read_number(film.where, "Columns or Rows", text) for text in film.size)
    regions: dict[str, Edges] = {}
    for region in graph["objects"]:
        left, top, right, bottom = (read_number(where, name, str(region[name])) for name in _EDGES)
        inside = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
        if inside[0] < inside[2] and inside[1] < inside[3]:
            regions[str(region["bbox_name"])] = inside
    said: dict[str, dict[str, set[str]]] = {"yes": defaultdict(set), "no": defaultdict(set)}
    for region in graph["attributes"]:
        for phrase in region["attributes"]:
            for verdict, finding in _findings(phrase):
                said[verdict][finding].add(str(region["bbox_name"]))
    changes: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for relation in graph["relationships"]:
        prior = str(relation["object_id"]).partition("_")[0]
        stated = {str(name).rpartition("|")[2] for name in relation["relationship_names"]} & set(CHANGES)
        for verdict, finding in _findings(relation["attributes"]):
            if verdict == "yes":
                changes[prior, finding, str(relation["bbox_name"])] |= stated
    return _Scene(where, film, regions, said["yes"], said["no"], changes)


def _findings(attributes: Any) -> Iterator[tuple[str, str]]:
    """("yes" or "no", finding) of each attribute that is a finding or a device."""
    for attribute in attributes:
        kind, _, rest = str(attribute).partition("|")
        verdict, _, finding = rest.partition("|")
        if kind in _KINDS and verdict in ("yes", "no") and finding:
            yield verdict, finding


def _questions(scene: _Scene, films: Mapping[str, MimicFilm], seed: int, skipped: Skipped) -> Iterator[ReadyQuestion]:
    rng = np.random.default_rng([seed, int(unit(scene.film.id) * 2**48)])
    for task in (_place(scene, rng), _in_region(scene, rng), _which_region(scene, rng)):
        if task:
            yield ReadyQuestion(scene.where, task, scene.film.split, scene.film.patient)
    change = _change(scene, films, rng, skipped)
    if change:
        yield ReadyQuestion(scene.where, change, scene.film.split, scene.film.patient)


def _place(scene: _Scene, rng: np.random.Generator) -> Task | None:
    """Where is a region?"""
    if not scene.regions:
        return None
    region = str(rng.choice(sorted(scene.regions)))
    width, height = map(float, scene.film.size)
    return _task(
        scene,
        "region",
        domain="open",
        form="boxes",
        family="region_grounding",
        gold=(write_box(*scene.regions[region], width, height),),
        question=f"Where is the {region}? Answer with boxes [left, top, right, bottom] in thousandths of the film.",
    )


def _in_region(scene: _Scene, rng: np.random.Generator) -> Task | None:
    """Is a finding in a region? Yes and no are equally likely if the report has both."""
    yes = _sure(scene.present, scene.denied)
    no = _sure(scene.denied, scene.present)
    kinds = [pairs for pairs in (yes, no) if pairs]
    if not kinds:
        return None
    pairs = kinds[rng.integers(len(kinds))]
    finding, region = pairs[rng.integers(len(pairs))]
    letter, wrong = ("A", {"B": PRESENT}) if pairs is yes else ("B", {"A": DENIED})
    return _task(
        scene,
        "region-binary",
        domain="closed",
        family="region_binary",
        question=f"Is there {finding} in the {region}?",
        options={"A": "Yes", "B": "No"},
        why_wrong=wrong,
        gold=(letter,),
    )


def _which_region(scene: _Scene, rng: np.random.Generator) -> Task | None:
    """In which region is a finding? Wrong are regions that overlap none of those that the report names."""
    choices = []
    for finding, region in _sure(scene.present, scene.denied):
        named = [scene.regions[name] for name in scene.present[finding] if name in scene.regions]
        wrong = [name for name, box in scene.regions.items() if all(_apart(box, other) for other in named)]
        if region in scene.regions and len(wrong) >= _OPTIONS - 1:
            choices.append((finding, region, wrong))
    if not choices:
        return None
    finding, region, wrong = choices[rng.integers(len(choices))]
    drawn = rng.choice(sorted(wrong), size=_OPTIONS - 1, replace=False)
    options = dict(zip(OPTION_LETTERS, map(str, rng.permutation([region, *drawn])), strict=False))
    denied = scene.denied.get(finding, set())
    reasons = {letter: DENIED if name in denied else OTHER_REGION for letter, name in options.items() if name != region}
    return _task(
        scene,
        "location",
        domain="closed",
        family="location",
        question=f"Where is {finding} seen?",
        options=options,
        why_wrong=reasons,
        gold=tuple(letter for letter, name in options.items() if name == region),
    )


def _change(scene: _Scene, films: Mapping[str, MimicFilm], rng: np.random.Generator, skipped: Skipped) -> Task | None:
    """What became of a finding in a region since the prior film?"""
    clear = sorted(key for key, stated in scene.changes.items() if len(stated) == 1)
    known = [key for key in clear if key[0] in films]
    if not known:
        if clear:
            skipped.note(_NO_PRIOR, scene.film.id)
        return None
    prior, finding, region = known[rng.integers(len(known))]
    (stated,) = scene.changes[prior, finding, region]
    options = dict(zip(OPTION_LETTERS, CHANGES.values(), strict=False))
    gold = next(letter for letter, text in options.items() if text == CHANGES[stated])
    return _task(
        scene,
        "progression",
        domain="closed",
        family="progression",
        images=(f"{prior}.jpg", f"{scene.film.id}.jpg"),
        captions=("prior film", "current film"),
        question=f"What became of {finding} in the {region} since the prior film?",
        options=options,
        why_wrong={letter: f"the report says {stated}" for letter in options if letter != gold},
        gold=(gold,),
    )


def _sure(said: Mapping[str, set[str]], contrary: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The pairs of finding and region of which the report says one thing, and not the contrary, too."""
    pairs = []
    for finding, regions in said.items():
        pairs += [(finding, region) for region in regions - contrary.get(finding, set())]
    return sorted(pairs)


def _apart(a: Edges, b: Edges) -> bool:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return max(0, width) * max(0, height) < _APART * smaller


def _task(scene: _Scene, suffix: str, **fields: Any) -> Task:
    images = fields.pop("images", (f"{scene.film.id}.jpg",))
    return Task(id=f"{scene.film.id}-{suffix}", images=images, view=scene.film.view, **PROVENANCE, **fields)


IMAGENOME = Importer(
    "imagenome",
    "Chest ImaGenome: questions on regions of MIMIC-CXR's films, what is in them, and what changed there.",
    (
        IMAGES,
        Option("graphs", "folder with the scene graphs (*_SceneGraph.json), or scene_graph.zip", "path"),
        TABLES,
        OUT,
        SEED,
    ),
    import_imagenome,
)
