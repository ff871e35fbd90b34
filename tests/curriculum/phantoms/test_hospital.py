"""Films of another hospital show the same findings, and look different."""

from collections import Counter

import numpy as np
import pytest

from curriculum.phantoms.hospital import AWAY, HOME, Scanner
from curriculum.phantoms.phantom import FINDINGS, draw_phantom


@pytest.fixture(scope="module")
def films():
    """Hospital to some of its films."""
    return {hospital: [draw_phantom(0, index, hospital) for index in range(300)] for hospital in (HOME, AWAY)}


def test_findings_are_as_frequent_in_both(films):
    counts = {hospital: Counter(name for film in of_one for name in film.sides) for hospital, of_one in films.items()}
    assert set(counts[AWAY]) == set(FINDINGS)
    assert all(abs(counts[AWAY][name] - counts[HOME][name]) < 40 for name in FINDINGS)
    assert [film.sides for film in films[AWAY]] != [film.sides for film in films[HOME]], "they are other patients"


def test_films_use_the_range_and_are_not_blank(films):
    for film in films[AWAY][:50]:
        assert film.pixels.shape == (AWAY.size, AWAY.size) and film.pixels.dtype == np.uint8
        assert film.pixels.std() > 20 and film.pixels.max() > 150


def test_the_border_is_black_and_as_wide_as_the_hospital_says(films):
    for film in films[AWAY]:
        inside = np.flatnonzero(film.pixels.any(1))
        top, bottom = inside[0], AWAY.size - 1 - inside[-1]
        assert all(1 <= width <= round(0.05 * AWAY.size) for width in (top, bottom))
        assert not film.pixels[:top].any()
    assert len({np.flatnonzero(film.pixels.any(1))[0] for film in films[AWAY]}) > 3


def test_contrast_is_lower(films):
    """Between the lung and the body beside it, in films without a finding."""
    spread = {}
    for hospital, of_one in films.items():
        healthy = [film.pixels.astype(float) for film in of_one if not film.sides]
        side = hospital.size
        lung = [film[round(0.4 * side), round(0.32 * side)] for film in healthy]
        body = [film[round(0.9 * side), round(0.32 * side)] for film in healthy]
        spread[hospital] = np.mean(body) - np.mean(lung)
    assert 0.6 * spread[HOME] < spread[AWAY] < 0.95 * spread[HOME]


def test_a_scanner_adds_lines_and_darkens_corners():
    even = np.full((128, 128), 0.5, np.float32)
    lines = Scanner(grid=0.1, period=4, vignette=0, border=(0, 0)).mark(even, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(lines[:, 7] - 0.5))
    assert spectrum.argmax() == 128 / 4 and np.ptp(lines, axis=1).max() == 0, "the same across a row"
    dark = Scanner(grid=0, period=4, vignette=0.4, border=(0, 0)).mark(even, np.random.default_rng(0))
    assert dark[64, 64] == pytest.approx(0.5, abs=1e-3) and dark[0, 0] == pytest.approx(0.3, abs=5e-3)
    border = Scanner(grid=0, period=4, vignette=0, border=(0.25, 0.25)).mark(even, np.random.default_rng(0))
    assert (border > 0).sum() == 64 * 64 and border[32:96, 32:96].min() == 0.5
    assert even.min() == 0.5, "the film itself is left as it was"
