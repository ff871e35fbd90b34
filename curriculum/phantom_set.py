"""A task set of chest phantoms: films drawn to PNG files, and questions with gold traces about them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from .phantom import FREQUENCY, NUMBER_OF_FINDINGS, draw_phantom
from .questions import Film, QuestionWriter
from .task import NO_FINDING, Split, Task

_SIGNS = {  # what is seen where the finding is present, and where it is not
    "Effusion": ("fluid at the base", "both angles sharp"),
    "Cardiomegaly": ("the heart is wide", "the heart is narrow"),
    "Pneumothorax": ("a pleural line", "no pleural line"),
    "Consolidation": ("a dense cloud", "no dense cloud"),
    "Mass": ("a large round shadow", "no large shadow"),
    "Edema": ("haze around the hila", "clear hila"),
    "Atelectasis": ("bands at the base", "no bands"),
    "Nodule": ("a small round shadow", "no small shadow"),
    "Fibrosis": ("a net in the lungs", "no net"),
    "Hernia": ("a ring below the heart", "no ring"),
    NO_FINDING: ("nothing is seen", "something is seen"),
}


class PhantomConfig(BaseModel):
    """How many films each split has, and from which seed they are drawn."""

    model_config = ConfigDict(extra="forbid")

    train: int = Field(2400, ge=1)
    val: int = Field(400, ge=1)
    test: int = Field(800, ge=1)
    seed: int = 0


def describe(finding: str, present: bool, rng: np.random.Generator) -> str:
    """The think sentence of a gold trace; `rng` is unused, there is one way to say each."""
    text = _SIGNS[finding][0 if present else 1]
    return text[0].upper() + text[1:] + "."


def draw_phantom_set(config: PhantomConfig, folder: Path) -> Iterator[Task]:
    """Draws every film into `folder`/images and yields four tasks about each: one of every family."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    writer = QuestionWriter(FREQUENCY, NUMBER_OF_FINDINGS[0], describe)
    counts: dict[Split, int] = {"train": config.train, "val": config.val, "test": config.test}
    index = 0
    for split, count in counts.items():
        for _ in range(count):
            phantom = draw_phantom(config.seed, index)
            name = f"{index:06d}"
            path = images / f"{name}.png"
            Image.fromarray(phantom.pixels).save(path, compress_level=1)
            film = Film(id=name, image=str(path), findings=tuple(phantom.sides), split=split, patient=f"phantom-{name}",
                        provenance={"source": "phantom", "licence": "CC0-1.0"})
            rng = np.random.default_rng([config.seed, index, 1])
            for family in (writer.binary, writer.single_choice, writer.multiple_choice, writer.diagnosis):
                yield family(film, rng)
            index += 1
