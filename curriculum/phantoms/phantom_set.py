"""A task set of chest phantoms: films drawn to PNG files, and questions with gold traces about them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field

from curriculum.choice import KeyOf
from curriculum.phantoms.hospital import HOSPITALS
from curriculum.phantoms.phantom import FREQUENCY, NUMBER_OF_FINDINGS, draw_phantom
from curriculum.questions import LabelledFilm, QuestionWriter
from curriculum.strict import Strict
from curriculum.task import NO_FINDING, Split, Task

_SIGNS = {  # what is seen if the finding is present, and if it is not
    "Effusion": ("fluid", "sharp angles"),
    "Cardiomegaly": ("a wide heart", "a narrow heart"),
    "Pneumothorax": ("a pleural line", "no line"),
    "Consolidation": ("a dense cloud", "no cloud"),
    "Mass": ("a large shadow", "no shadow"),
    "Edema": ("haze", "clear hila"),
    "Atelectasis": ("bands", "no bands"),
    "Nodule": ("a small spot", "no spot"),
    "Fibrosis": ("a net", "no net"),
    "Hernia": ("a ring", "no ring"),
    NO_FINDING: ("nothing is seen", "something is seen"),
}


class PhantomConfig(Strict):
    """How many films each split has, and from which seed and hospital they are drawn."""

    train: int = Field(2400, ge=1)
    val: int = Field(400, ge=1)
    test: int = Field(800, ge=1)
    trace_recall: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the findings that the gold traces mention; their writer overlooks the others. "
        "Gold answers and reports are always the truth",
    )
    seed: int = Field(0, description="added to the run's")
    hospital: Annotated[str, KeyOf(HOSPITALS)] = Field(
        "home", description="whose patients and scanner the films are from; away differs in all but the findings"
    )


def describe(finding: str, present: bool) -> str:
    """The think sentence of a gold trace, such as "Mass: a large shadow."."""
    return f"{finding}: {_SIGNS[finding][0 if present else 1]}."


def draw_phantom_set(config: PhantomConfig, folder: Path) -> Iterator[Task]:
    """Draws every film into `folder`/images and yields a task of every family about each."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    writer = QuestionWriter(FREQUENCY, NUMBER_OF_FINDINGS[0], describe)
    hospital = HOSPITALS[config.hospital]
    counts: dict[Split, int] = {"train": config.train, "val": config.val, "test": config.test}
    index = 0
    for split, count in counts.items():
        for _ in range(count):
            phantom = draw_phantom(config.seed, index, hospital)
            name = f"{index:06d}"
            path = images / f"{name}.png"
            Image.fromarray(phantom.pixels).save(path, compress_level=1)
            rng = np.random.default_rng([config.seed, index, 1])
            noticed = tuple(finding for finding in phantom.sides if rng.random() < config.trace_recall)
            film = LabelledFilm(
                id=name,
                image=str(path),
                findings=tuple(phantom.sides),
                split=split,
                patient=f"{hospital.patients}-{name}",
                provenance={"source": "phantom", "licence": "CC0-1.0"},
                noticed=noticed,
                denied=tuple(finding for finding in FREQUENCY if finding not in phantom.sides),
            )
            yield writer.binary(film, rng)
            yield writer.single_choice(film, rng)
            yield writer.multiple_choice(film, rng)
            yield writer.diagnosis(film, rng)
            yield writer.report(film, rng)
            index += 1
