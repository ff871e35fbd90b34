import hashlib
from collections import Counter

import numpy as np
import pytest

from curriculum.phantoms.hospital import HOME, HOSPITALS
from curriculum.phantoms.phantom import BOTH_SIDED, FINDINGS, FREQUENCY, NUMBER_OF_FINDINGS, _Canvas, draw_phantom

SIDED = [name for name in FINDINGS if name not in BOTH_SIDED]
hospitals = pytest.mark.parametrize("hospital", HOSPITALS.values(), ids=HOSPITALS)


@pytest.fixture(scope="module")
def phantoms():
    return [draw_phantom(0, index) for index in range(500)]


def density(seed, sides, hospital=HOME):
    """A film before exposure and noise, which differ by how many random numbers the findings took."""
    canvas = _Canvas(np.random.default_rng(seed), hospital)
    canvas.film(sides)
    return canvas.density


def test_the_films_of_the_default_hospital_are_those_of_every_release(phantoms):
    films = b"".join(phantom.pixels.tobytes() for phantom in phantoms[:20])
    assert hashlib.sha256(films).hexdigest() == "ad045e4ea371f0824533b8746ece265dee4f71285c65383cd018c9dc4fcd3c1a"


def test_two_numbers_give_the_same_film_byte_for_byte(phantoms):
    for index in (0, 7, 123):
        again = draw_phantom(0, index)
        assert again.pixels.tobytes() == phantoms[index].pixels.tobytes() and again.sides == phantoms[index].sides
        assert again.pixels.shape == (HOME.size, HOME.size) and again.pixels.dtype == np.uint8


def test_films_differ_between_indices_and_seeds(phantoms):
    assert len({p.pixels.tobytes() for p in phantoms}) == len(phantoms)
    others = [draw_phantom(1, index) for index in range(40)]
    assert all(a.pixels.tobytes() != b.pixels.tobytes() for a, b in zip(phantoms, others, strict=False))
    assert [p.sides for p in phantoms[:40]] != [p.sides for p in others]


def test_films_use_the_whole_range_and_are_not_blank(phantoms):
    for phantom in phantoms[:50]:
        assert phantom.pixels.std() > 20 and phantom.pixels.max() > 150 and phantom.pixels.min() < 60


@hospitals
@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_changes_the_film_where_the_truth_says(finding, hospital):
    sides = ("left", "right") if finding in SIDED else ("",)
    middle, seen = hospital.size // 2, hospital.contrast[0]
    for seed in range(6):
        healthy = density(seed, {}, hospital)
        changes = [np.abs(density(seed, {finding: side}, hospital) - healthy) for side in sides]
        for side, change in zip(sides, changes, strict=True):
            assert seen * change.max() > 3.5 * hospital.noise
            assert (seen * change > 1.8 * hospital.noise).sum() > 12
            half = {"left": change[:, middle:], "right": change[:, :middle]}.get(side, change)
            assert half.sum() > 0.8 * change.sum()  # the patient's left is on the right of the film


@hospitals
@pytest.mark.parametrize("finding", FINDINGS)
def test_no_two_findings_look_alike(finding, hospital):
    healthy = density(0, {}, hospital)
    change = density(0, {finding: "left" if finding in SIDED else ""}, hospital) - healthy
    for other in FINDINGS:
        if other != finding:
            second = density(0, {other: "left" if other in SIDED else ""}, hospital) - healthy
            assert np.corrcoef(change.ravel(), second.ravel())[0, 1] < 0.8


def test_at_least_eight_findings_some_of_them_rare():
    assert len(FINDINGS) == len(set(FINDINGS)) >= 8 and sum(NUMBER_OF_FINDINGS) == pytest.approx(1)
    assert sorted(FREQUENCY.values())[2] <= 0.5 * max(FREQUENCY.values())  # three of them at the least


def test_findings_are_as_frequent_as_they_should_be(phantoms):
    seen = Counter(name for p in phantoms for name in p.sides)
    assert set(seen) == set(FINDINGS)
    rare = [name for name in FINDINGS if FREQUENCY[name] <= 0.5 * max(FREQUENCY.values())]
    common = [name for name in FINDINGS if FREQUENCY[name] == max(FREQUENCY.values())]
    assert max(seen[name] for name in rare) < min(seen[name] for name in common)
    assert all(seen[name] >= 5 for name in rare)
    numbers = Counter(len(p.sides) for p in phantoms)
    for number, probability in enumerate(NUMBER_OF_FINDINGS):
        assert numbers[number] / len(phantoms) == pytest.approx(probability, abs=0.05)
    assert numbers[0] > 0  # healthy films


def test_sides(phantoms):
    for phantom in phantoms:
        assert list(phantom.sides) == [name for name in FINDINGS if name in phantom.sides]
        assert all(
            (side == "") == (name in BOTH_SIDED) and side in ("", "left", "right")
            for name, side in phantom.sides.items()
        )
    sides = Counter(side for p in phantoms for side in p.sides.values() if side)
    assert sides["left"] / (sides["left"] + sides["right"]) == pytest.approx(0.5, abs=0.06)
    for name in SIDED:
        assert {p.sides[name] for p in phantoms if name in p.sides} == {"left", "right"}
