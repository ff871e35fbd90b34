"""All measures of a list of results, and their differences to another model's."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.measures import Result, Scores
from tests.support.results import OPEN, closed, texts


def test_findings_and_their_groups_by_hand():
    scores = Scores(OPEN, 100, shares={"Mass": 0.3, "Edema": 0.05})
    value = {path: interval[0] for path, interval in scores.intervals().items()}
    assert value["findings", "Mass", "recall"] == value["findings", "Mass", "f1"] == 1
    assert value["findings", "Edema", "recall"] == 0
    assert value["frequency", "head", "macro_f1"] == 1 and value["frequency", "medium", "macro_f1"] == 0
    assert ("frequency", "tail", "macro_f1") not in value
    assert len(scores.paths["findings", "Mass", "recall"].tasks) == 2  # those whose gold has it


def test_no_train_films_no_groups():
    paths = Scores(OPEN, 100, shares={}).paths
    assert ("findings", "Mass", "recall") in paths and not any(path[0] == "frequency" for path in paths)


@given(st.lists(st.booleans(), min_size=3, max_size=40), st.randoms(use_true_random=False))
def test_a_gain_is_paired_by_task(right, random):
    later = [r or random.random() < 0.3 for r in right]
    before, after = (Scores([closed(i, r) for i, r in enumerate(rs)], 100) for rs in (right, later))
    value, low, high = after.gain_over(before)["closed_accuracy"]
    assert value == pytest.approx(np.mean(later) - np.mean(right)) and 0 <= low <= high


def test_a_model_differs_from_itself_by_exactly_nothing():
    results = [*OPEN, *(closed(i, i % 3, view="AP") for i in range(30)), *texts(["A mass.", "", "Clear lungs."])]
    for i, r in enumerate(results):
        results[i] = Result(r.task.model_copy(update={"id": str(i)}), r.text, r.verdict)
    one, two = (Scores(list(results), 200, shares={"Mass": 0.2}) for _ in range(2))
    differences = one.differences(two)
    assert differences.keys() == one.paths.keys() and set(differences.values()) == {(0, 0, 0)}


@given(st.lists(st.booleans(), min_size=12, max_size=30), st.randoms(use_true_random=False))
def test_a_change_since_kept_statistics_is_the_gain_over_those_answers(right, random):
    now = [r if random.random() < 0.6 else not r for r in right]
    before, after = (Scores([closed(i, r) for i, r in enumerate(rs)], 100) for rs in (right, now))
    kept = json.loads(json.dumps(before.statistics("closed_accuracy")))
    assert after.change("closed_accuracy", kept) == after.gain_over(before)["closed_accuracy"]


def test_a_change_since_answers_to_other_tasks_is_refused():
    with pytest.raises(ValueError, match="on 2 tasks before, on 1 now"):
        Scores([closed(0, True)], 10).change("closed_accuracy", [[1.0, 1.0], [0.0, 1.0]])


def test_a_gain_over_other_tasks_is_refused():
    with pytest.raises(ValueError, match="same tasks"):
        Scores([closed(0, True)], 10).gain_over(Scores([closed(1, True)], 10))


def test_each_source_is_measured_by_its_name():
    results = [closed(i, right, source=source) for i, (right, source) in enumerate([(1, "a"), (0, "a"), (1, "b")])]
    named = Scores(results, 10, sources=True).measures()
    assert named["a_closed_accuracy"][0] == 0.5 and named["b_closed_accuracy"][0] == 1
    assert not any(name.startswith("b_") for name in Scores(results, 10).measures() if "binary" not in name)
