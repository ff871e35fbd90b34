"""Measures of several responses to a task, against other ways to compute them."""

from itertools import combinations
from math import comb
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.measures import Result
from cluster.measures.measure import bootstrap
from cluster.measures.samples import majority_is_right, pass_at, sample_measures
from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_response(numbers):
    samples, right, k = numbers
    subsets = list(combinations([True] * right + [False] * (samples - right), k))
    assert pass_at(samples, right, k) == pytest.approx(np.mean([any(subset) for subset in subsets]))
    assert pass_at(samples, right, k) == pytest.approx(1 - comb(samples - right, k) / comb(samples, k))


def said(answer, right):
    return SimpleNamespace(verdict=SimpleNamespace(answer=answer, outcome=1.0 if right else 0.4))


@pytest.mark.parametrize(
    "answers, right",
    [
        ("AAB", True),
        ("BAB", False),
        ("AB", True),  # equally many: the first
        ("BA", False),
        ("?A?", True),  # an answer that cannot be read is no vote
        ("???", False),
    ],
)
def test_the_answer_of_most_counts(answers, right):
    samples = [said(None if letter == "?" else (letter,), letter == "A") for letter in answers]
    assert majority_is_right(samples) is right


def test_findings_in_another_order_are_the_same_answer():
    assert majority_is_right([said(("Mass", "Edema"), True), said((), False), said(("Edema", "Mass"), True)])


def responses(task, *texts):
    return [Result(task, text, score(task, text, RewardConfig())) for text in texts]


CHOICE = Task(
    id="c",
    domain="closed",
    family="single_choice",
    question="Which is seen?",
    options={"A": "Mass", "B": "Edema"},
    gold=("B",),
    images=("x.png",),
)
NAMES = Task(id="n", domain="open", family="diagnosis", question="Which?", gold=("Mass", "Edema"), images=("y.png",))


def steps(a, b, final):
    return (
        f"<think>t</think><answer>A) {a}</answer><think>t</think><answer>B) {b}</answer>"
        f"<think>t</think><answer>{final}</answer>"
    )


def test_every_measure_by_hand():
    samples = [
        responses(
            CHOICE, steps("❌", "✅", "B"), steps("✅", "❌", "A"), steps("✔", "✅", "B"), steps("❌", "✅", "B")
        ),
        responses(NAMES, *(f"<think>t</think><answer>{a}</answer>" for a in ("Mass", "Edema, Mass", "none", "Mass"))),
    ]
    measures = sample_measures(samples)
    values = {path: value[0] for path, value in bootstrap(measures, np.arange(2), 5, 0).items()}
    assert values["samples", "closed", "pass@1"] == pytest.approx(3 / 4)
    assert values["samples", "closed", "pass@2"] == values["samples", "closed", "pass@4"] == 1
    assert values["samples", "closed", "maj@4"] == 1
    assert values["samples", "open", "pass@1"] == pytest.approx(1 / 4)
    assert values["samples", "open", "pass@2"] == pytest.approx(1 / 2)
    assert values["samples", "open", "maj@4"] == 0, "most say Mass alone"
    assert values["samples", "findings", "Mass", "recall@1"] == pytest.approx(3 / 4)
    assert values["samples", "findings", "Edema", "recall@1"] == pytest.approx(1 / 4)
    marks = {path[1:]: value for path, value in values.items() if path[0] == "marks"}
    assert marks["Mass", "❌"] == 1 and marks["Mass", "✅"] == 0, "✔ contradicts the answer, and counts"
    assert marks["Edema", "✅"] == 1 and marks["Edema", "❌"] == 0
    assert marks["all", "✅"] == pytest.approx(3 / 5) and marks["all", "❌"] == pytest.approx(2 / 3)
    assert [path[1] for path in measures if path[0] == "marks"][:2] == ["all", "all"]


def test_forms_that_are_not_right_or_wrong_as_a_whole_have_no_pass_rate():
    text = Task(id="t", domain="open", family="findings", form="text", question="Q", gold=("A.",), images=("x",))
    assert sample_measures([responses(text, "A.", "B.")]) == {}
