"""Measures are sums over tasks, resampled by patient."""

import numpy as np
import pytest

from cluster.measures import Scores
from cluster.measures.measure import bleu, bootstrap, mean
from tests.support.results import closed


def test_bleu_of_a_resample_is_that_of_its_texts():
    counts = np.array([[4, 5, 3, 2, 1, 0, 4, 3, 2, 1], [6, 6, 2, 0, 0, 0, 6, 5, 4, 3]])
    measure = bleu(np.arange(2), counts)
    assert measure.value(np.array([[2, 1]]) @ counts) == bleu(np.arange(3), counts[[0, 0, 1]]).value(
        counts[[0, 0, 1]].sum(0, keepdims=True)
    )


def test_an_interval_is_the_normal_one_for_many_tasks():
    results = [closed(i, i % 4 != 0) for i in range(1000)]
    value, low, high = Scores(results, 2000).measures()["closed_accuracy"]
    half = 1.96 * (0.75 * 0.25 / 1000) ** 0.5
    assert (
        value == 0.75 and low == pytest.approx(0.75 - half, abs=0.004) and high == pytest.approx(0.75 + half, abs=0.004)
    )


def test_intervals_cover_the_truth_nineteen_times_in_twenty():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        tasks = np.arange(120)
        drawn = bootstrap({"x": mean(tasks, rng.random(120) < 0.7)}, tasks, 400, 1)["x"]
        low, high = np.quantile(drawn[1:], (0.025, 0.975))
        covered += low <= 0.7 <= high
    assert 0.91 <= covered / 400 <= 0.98


def test_four_questions_about_a_patient_are_no_more_sure_than_one():
    right = [i % 4 != 0 for i in range(400)]
    once = [closed(i, r) for i, r in enumerate(right)]
    four = [closed(4 * i + k, r, patient=f"p{i}") for i, r in enumerate(right) for k in range(4)]
    (value, low, high), (value_4, low_4, high_4) = (Scores(r, 500).measures()["closed_accuracy"] for r in (once, four))
    assert value == value_4 == 0.75 and (low, high) == pytest.approx((low_4, high_4))


def test_tasks_without_a_patient_are_drawn_by_film():
    same_film = [closed(i, i % 2, patient="") for i in range(40)]
    assert Scores(same_film, 50).measures()["closed_accuracy"] == (0.5, 0.5, 0.5)


def test_parts_of_the_draws_change_nothing(monkeypatch):
    tasks = np.arange(60)
    measures = {"x": mean(tasks, np.random.default_rng(0).random(60))}
    whole = bootstrap(measures, tasks // 2, 300, 0)["x"]
    monkeypatch.setattr("cluster.measures.measure._CELLS_AT_ONCE", 30 * 7)
    assert bootstrap(measures, tasks // 2, 300, 0)["x"] == pytest.approx(whole)
