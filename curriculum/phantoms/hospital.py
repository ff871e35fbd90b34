"""The hospitals that phantoms come from: how their patients are built, and how their scanners expose a film.

`home` is the default. `away` shows the same findings, as often, in other films: other proportions of heart, lungs and
diaphragm, other exposure and contrast, more noise, more pixels, and the marks of a scanner. It stands for the hospital
that a model was not trained for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Range = tuple[float, float]
"""The ends of a uniform distribution."""


@dataclass(frozen=True)
class Scanner:
    """The marks that a scanner leaves on every film.

    Attributes:
        grid: amplitude of the lines of its anti-scatter grid.
        period: of these lines, in pixels.
        vignette: how much darker the corners are, as a share of their brightness.
        border: width of the black border outside the collimated field, a share of the film's side; of each of the four
            sides its own.
    """

    grid: float
    period: float
    vignette: float
    border: Range

    def mark(self, film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The film with the marks; float32 [size, size] in and out, 0 is black and 1 is white."""
        size = len(film)
        row: np.ndarray = np.arange(size, dtype=np.float32)
        lines = self.grid * np.sin(2 * np.pi / self.period * row + rng.uniform(0, 2 * np.pi))
        centred = (row + 0.5) / size - 0.5
        from_centre = 2 * (centred[:, None] ** 2 + centred[None, :] ** 2)  # 1 in the corners
        marked = (film + lines[:, None]) * (1 - self.vignette * from_centre)
        top, bottom, left, right = (round(size * width) for width in rng.uniform(*self.border, size=4))
        field = np.zeros_like(marked)
        inside = slice(top, size - bottom), slice(left, size - right)
        field[inside] = marked[inside]
        return field


@dataclass(frozen=True)
class Hospital:
    """How the films of a hospital vary. Lengths are shares of the film's side, densities lie in [0, 1].

    Attributes:
        patients: what stands before the numbers of its patients.
        stream: of random numbers, so that hospitals do not share their patients; `phantom_set` has number 1.
        size: of a film in pixels, both sides.
        turn: standard deviation of the patient's rotation, in radians.
        lung_offset: distance of a lung's centre from the middle.
        lung_width: half-width of a lung.
        lung_height: half-height of a lung.
        diaphragm: level of the diaphragm, from the top.
        dome: how much it falls off to the sides.
        heart: half-width of a normal heart.
        large_heart: half-width of a heart with cardiomegaly.
        heart_centre: (x, y).
        heart_height: half-height of a normal heart.
        tissue: density of the body.
        air: how much less dense lungs are.
        ribs: their number, as a frequency.
        rib_density: what they add.
        exposure: mean and standard deviation of what is added to the density.
        contrast: by which the density is multiplied.
        noise: standard deviation of each pixel.
        scanner: None leaves no marks.
    """

    patients: str
    stream: int
    size: int
    turn: float
    lung_offset: float
    lung_width: Range
    lung_height: Range
    diaphragm: Range
    dome: float
    heart: Range
    large_heart: Range
    heart_centre: tuple[float, float]
    heart_height: float
    tissue: float
    air: float
    ribs: Range
    rib_density: Range
    exposure: tuple[float, float]
    contrast: Range
    noise: float
    scanner: Scanner | None = None


HOME = Hospital(
    patients="phantom",
    stream=0,
    size=112,  # 8 x 8 patches of 14 for a Qwen2.5-VL vision tower
    turn=0.03,
    lung_offset=0.205,
    lung_width=(0.145, 0.17),
    lung_height=(0.29, 0.33),
    diaphragm=(0.70, 0.75),
    dome=0.5,
    heart=(0.115, 0.14),
    large_heart=(0.20, 0.235),
    heart_centre=(0.535, 0.62),
    heart_height=0.12,
    tissue=0.62,
    air=0.42,
    ribs=(48, 56),
    rib_density=(0.05, 0.09),
    exposure=(0.04, 0.03),
    contrast=(0.9, 1.1),
    noise=0.025,
)
AWAY = Hospital(
    patients="away",
    stream=2,
    size=144,
    turn=0.05,
    lung_offset=0.185,
    lung_width=(0.125, 0.15),
    lung_height=(0.26, 0.30),
    diaphragm=(0.66, 0.71),
    dome=0.9,
    heart=(0.125, 0.15),
    large_heart=(0.205, 0.24),
    heart_centre=(0.55, 0.59),
    heart_height=0.135,
    tissue=0.68,
    air=0.40,
    ribs=(38, 44),
    rib_density=(0.07, 0.11),
    exposure=(0.10, 0.04),
    contrast=(0.75, 0.9),
    noise=0.035,
    scanner=Scanner(grid=0.03, period=3.4, vignette=0.25, border=(0.01, 0.05)),
)
HOSPITALS = {"home": HOME, "away": AWAY}
"""By the name that a recipe gives."""
