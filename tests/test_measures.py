"""Scores of held-out answers against sums by hand, and intervals against the textbook."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.measures import Result, Scores
from curriculum.task import Task
from rewards.score import RewardConfig, score


def closed(number, right):
    task = Task(id=f"c{number}", domain="closed", family="binary", question="Is there Mass?", options={"A": "Yes", "B": "No"},
                gold=("A",), images=("x.png",))
    return result(task, "A" if right else "B")


def opened(number, gold, found):
    return result(Task(id=f"o{number}", domain="open", family="diagnosis", question="Which?", gold=gold, images=("x.png",)), found)


def result(task, answer):
    text = f"<think>t</think><answer>{answer}</answer>"
    return Result(task, text, score(task, text, RewardConfig()))


def test_measures_by_hand():
    results = [closed(0, True), closed(1, True), closed(2, True), closed(3, False),
               opened(0, ("Mass", "Edema"), "Mass, Hernia"), opened(1, (), "No finding"), opened(2, ("Mass",), "mass and nodule"),
               opened(3, ("Edema",), "who knows")]
    measures = {name: value for name, (value, _, _) in Scores(results, 200).measures().items()}
    assert measures["closed_accuracy"] == measures["binary_accuracy"] == 0.75 and measures["format_rate"] == 1
    # hits: Mass, Mass; gold: 2 + 0 + 1 + 1; found: 2 + 0 + 2 + 1
    assert measures["open_micro_f1"] == pytest.approx(2 * 2 / (4 + 5))
    # Mass: 2 of 2 gold, 2 found; Edema: 0 of 2
    assert measures["open_macro_f1"] == pytest.approx((1 + 0) / 2)


def test_an_interval_is_the_normal_one_for_many_tasks():
    results = [closed(i, i % 4 != 0) for i in range(1000)]
    value, low, high = Scores(results, 2000).measures()["closed_accuracy"]
    half = 1.96 * (0.75 * 0.25 / 1000) ** 0.5
    assert value == 0.75 and low == pytest.approx(0.75 - half, abs=0.004) and high == pytest.approx(0.75 + half, abs=0.004)


@given(st.lists(st.booleans(), min_size=3, max_size=40), st.randoms(use_true_random=False))
def test_a_gain_is_paired_by_task(right, random):
    later = [r or random.random() < 0.3 for r in right]
    before, after = (Scores([closed(i, r) for i, r in enumerate(rs)], 100) for rs in (right, later))
    value, low, high = after.gain_over(before)["closed_accuracy"]
    assert value == pytest.approx(np.mean(later) - np.mean(right)) and 0 <= low <= high
    assert after.gain_over(after)["closed_accuracy"] == (0, 0, 0)


def test_a_gain_over_other_tasks_is_refused():
    with pytest.raises(ValueError, match="same tasks"):
        Scores([closed(0, True)], 10).gain_over(Scores([closed(1, True)], 10))
