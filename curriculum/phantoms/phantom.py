"""Chest phantoms: procedurally drawn films whose findings are true by construction.

They replace real films in the embedded default, so that a first run needs no download. A phantom is a
function of its seed and its hospital: anatomy (build, rotation, heart, diaphragm), exposure and noise vary from film to
film, and each finding is drawn on the lung that the truth names. They are shapes, not medicine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from curriculum.phantoms.hospital import HOME, Hospital

# How often a finding is drawn, relative to the others. The last three are rare.
FREQUENCY = {
    "Effusion": 1.0,
    "Cardiomegaly": 1.0,
    "Pneumothorax": 1.0,
    "Consolidation": 1.0,
    "Mass": 1.0,
    "Edema": 1.0,
    "Atelectasis": 0.8,
    "Nodule": 0.3,
    "Fibrosis": 0.2,
    "Hernia": 0.2,
}
FINDINGS = tuple(FREQUENCY)
BOTH_SIDED = ("Cardiomegaly", "Edema", "Fibrosis", "Hernia")  # these have no side
NUMBER_OF_FINDINGS = (0.2, 0.4, 0.3, 0.1)  # probability of 0, 1, 2, 3 findings


@dataclass(frozen=True)
class Phantom:
    """`pixels`: uint8 [size, size]; `sides`: finding to "left", "right" (the patient's) or "" if it has none."""

    pixels: np.ndarray
    sides: dict[str, str]


def draw_phantom(seed: int, index: int, hospital: Hospital = HOME) -> Phantom:
    """The phantom `index` of a hospital's set `seed`; the same two numbers give the same film, byte for byte."""
    rng = np.random.default_rng([seed, index, hospital.stream])
    count = rng.choice(len(NUMBER_OF_FINDINGS), p=NUMBER_OF_FINDINGS)
    weights = np.array(list(FREQUENCY.values()))
    chosen = rng.choice(len(FINDINGS), size=count, replace=False, p=weights / weights.sum())
    sides = {
        FINDINGS[i]: "" if FINDINGS[i] in BOTH_SIDED else str(rng.choice(["left", "right"])) for i in sorted(chosen)
    }
    return Phantom(_Canvas(rng, hospital).film(sides), sides)


class _Canvas:
    """One film while it is drawn: density in [0, 1], white is dense; coordinates run from 0 to 1, y downwards."""

    def __init__(self, rng: np.random.Generator, hospital: Hospital) -> None:
        self.rng, self.hospital = rng, hospital
        grid = ((np.arange(hospital.size) + 0.5) / hospital.size).astype(np.float32)
        x, y = np.meshgrid(grid, grid)
        turn = rng.normal(0, hospital.turn)  # a slightly rotated patient
        cos, sin = math.cos(turn), math.sin(turn)
        self.x = (x - 0.5) * cos + (y - 0.5) * sin + 0.5 + rng.normal(0, 0.015)
        self.y = (y - 0.5) * cos - (x - 0.5) * sin + 0.5 + rng.normal(0, 0.015)
        self.width = rng.uniform(*hospital.lung_width)
        self.height = rng.uniform(*hospital.lung_height)
        self.base = rng.uniform(*hospital.diaphragm)

    def film(self, sides: dict[str, str]) -> np.ndarray:
        rng, hospital, x, y = self.rng, self.hospital, self.x, self.y
        body = self.blob(0.5, 0.62, 0.46, 0.66, edge=0.04)
        self.density = hospital.tissue * body
        self.lung = {side: self.lung_mask(side) for side in ("left", "right")}
        lungs = self.lung["left"] + self.lung["right"]
        self.density -= hospital.air * lungs
        ribs = (
            np.maximum(0, np.sin((y + 0.5 * (x - 0.5) ** 2 * 4) * rng.uniform(*hospital.ribs) + rng.uniform(0, 6))) ** 4
        )
        self.density += rng.uniform(*hospital.rib_density) * ribs * body
        big = "Cardiomegaly" in sides
        heart = rng.uniform(*(hospital.large_heart if big else hospital.heart))
        cx, cy = hospital.heart_centre
        self.add(0.36, self.blob(cx + 0.02 * big, cy, heart, hospital.heart_height + 0.03 * big, edge=0.02))
        self.add(0.2, np.exp(-(((x - 0.5) / 0.05) ** 2)) * (y < 0.85))  # mediastinum and spine
        for finding, side in sides.items():
            if finding != "Cardiomegaly":
                getattr(self, f"draw_{finding.lower()}")(side)
        exposure, contrast = rng.normal(*hospital.exposure), rng.uniform(*hospital.contrast)
        noise = hospital.noise * rng.standard_normal((hospital.size, hospital.size), np.float32)
        film = self.density * contrast + exposure + noise
        if hospital.scanner:
            film = hospital.scanner.mark(film, rng)
        return (np.clip(film, 0, 1) * 255).astype(np.uint8)

    def blob(self, cx: float, cy: float, rx: float, ry: float, edge: float = 0.01) -> np.ndarray:
        """An ellipse, 1 inside and 0 outside, with an edge about `edge` wide."""
        radius = np.sqrt(((self.x - cx) / rx) ** 2 + ((self.y - cy) / ry) ** 2)
        return _rise((1 - radius) * min(rx, ry) / edge * 4)

    def add(self, amount: float, shape: np.ndarray) -> None:
        self.density = np.minimum(self.density + amount * shape, 1.0)

    def centre(self, side: str) -> float:
        offset = self.hospital.lung_offset
        return 0.5 + (offset if side == "left" else -offset)  # the patient's left is on the right of the film

    def lung_mask(self, side: str) -> np.ndarray:
        dome = self.base + self.hospital.dome * (self.x - self.centre(side)) ** 2 * 4
        return self.blob(self.centre(side), 0.47, self.width, self.height, 0.02) * _rise((dome - self.y) / 0.008)

    def inside(self, side: str, low: float, high: float) -> tuple[float, float]:
        """A point well inside the lung, between two levels."""
        return self.centre(side) + self.rng.uniform(-0.05, 0.05), self.rng.uniform(low, high)

    def draw_effusion(self, side: str) -> None:
        level = self.base - self.rng.uniform(0.12, 0.2)
        meniscus = level - 1.2 * np.abs(self.x - self.centre(side)) ** 1.5
        self.add(0.42, self.lung[side] * _rise((self.y - meniscus) / 0.008))

    def draw_pneumothorax(self, side: str) -> None:
        out = 1 if side == "left" else -1
        edge = self.centre(side) + out * self.rng.uniform(0.0, 0.04)
        distance = (self.x - edge) * out - 0.9 * (self.y - 0.42) ** 2 * 2
        self.density -= 0.2 * self.lung[side] * _rise(distance / 0.006)
        self.add(0.5, self.lung[side] * np.exp(-((distance / 0.013) ** 2)))

    def draw_consolidation(self, side: str) -> None:
        cx, cy = self.inside(side, 0.4, 0.6)
        for _ in range(4):
            dx, dy = self.rng.normal(0, 0.03, 2)
            self.add(0.2, self.lung[side] * self.blob(cx + dx, cy + dy, 0.07, 0.06, 0.05))

    def draw_mass(self, side: str) -> None:
        radius = self.rng.uniform(0.06, 0.075)
        self.add(0.5, self.blob(*self.inside(side, 0.32, 0.58), radius, radius, 0.008))

    def draw_nodule(self, side: str) -> None:
        radius = self.rng.uniform(0.028, 0.036)
        self.add(0.6, self.blob(*self.inside(side, 0.28, 0.6), radius, radius, 0.006))

    def draw_atelectasis(self, side: str) -> None:
        cy = self.rng.uniform(0.58, 0.64)
        for offset in (0.0, 0.045):
            line = self.y - cy - offset - self.rng.normal(0, 0.1) * (self.x - self.centre(side))
            self.add(0.34, self.lung[side] * np.exp(-((line / 0.012) ** 2)))

    def draw_edema(self, _: str) -> None:
        for side in ("left", "right"):
            inner = self.centre(side) + (-0.07 if side == "left" else 0.07)
            self.add(0.4, self.lung[side] * self.blob(inner, 0.45, 0.13, 0.17, 0.11))

    def draw_fibrosis(self, _: str) -> None:
        net = np.abs(np.sin(self.x * 95)) * np.abs(np.sin(self.y * 95))
        for side in ("left", "right"):
            self.add(0.34, self.lung[side] * net * (self.y > 0.48))

    def draw_hernia(self, _: str) -> None:
        cx = 0.5 + self.rng.uniform(-0.02, 0.03)
        self.add(0.5, self.blob(cx, 0.78, 0.085, 0.085, 0.01) - 1.2 * self.blob(cx, 0.79, 0.055, 0.05, 0.01))


def _rise(x: np.ndarray) -> np.ndarray:
    """The logistic function: 0 far below 0, 1 far above."""
    return 1 / (1 + np.exp(np.clip(-x, -50, 50)))
