import math

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from actors.rules.report_metric import ReportMetric
from rewards.custom_rules import RuleFault, checked_value
from tests.support.rewards.reports import REPORT, answered, given, recall
from tests.support.rewards.responses import OPEN, pairs


class Recall(ReportMetric):
    """The share of the report's words that the answer has; it cannot take the word "break"."""

    batch_size = 3

    def __init__(self):
        self.batches = []

    def compare(self, texts):
        self.batches.append(len(texts))
        assert all(answer and report for answer, report in texts)
        if any("break" in text.answer for text in texts):
            raise RuntimeError("broken")
        return [recall(*text) for text in texts]


@drawn(st.lists(st.sampled_from(["The heart is large.", "No effusion.", "break", " ", "Clear."]), max_size=12))
def test_each_response_has_the_value_that_it_has_alone(answers):
    metric = Recall()
    together = metric.score_batch(answered(*answers))
    alone = [Recall().score_batch(answered(answer))[0] for answer in answers]
    assert list(map(repr, together)) == list(map(repr, alone))
    assert max(metric.batches, default=0) <= 3


def test_the_words_of_think_blocks_count_for_nothing():
    said = given(pairs("No effusion.", think="The heart is large."))
    assert Recall().score_batch([said]) == [2 / 6]


def test_a_response_without_an_answer_is_worth_nothing_and_no_model_is_asked():
    metric = Recall()
    assert metric.score_batch([given("The heart is large."), *answered(" ")]) == [0, 0]
    assert metric.batches == []


def test_a_task_without_a_report_is_a_fault_of_that_response_alone():
    none, right = Recall().score_batch([*answered("Edema", task=OPEN), *answered(REPORT.gold[0])])
    assert isinstance(none, RuleFault) and "task o has no report" in str(none)
    assert right == 1


def test_a_fault_in_place_of_a_value_is_told_with_its_reason():
    value, why = checked_value("a:b", Recall().score_batch(answered("Edema", task=OPEN))[0])
    assert value == 0 and why.startswith("rule a:b failed: RuleFault: task o has no report to compare with")


@pytest.mark.parametrize("found, value", [(1 + 1e-7, 1), (-0.02, 0), (0.25, 0.25)])
def test_a_value_just_outside_is_brought_inside(monkeypatch, found, value):
    monkeypatch.setattr(Recall, "compare", lambda self, texts: [found])
    assert Recall().score_batch(answered("Clear.")) == [value]


@pytest.mark.parametrize("found", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_a_fault(monkeypatch, found):
    monkeypatch.setattr(Recall, "compare", lambda self, texts: [found])
    assert isinstance(Recall().score_batch(answered("Clear."))[0], RuleFault)


@pytest.mark.parametrize("text", ["effusion ", "x.", "- ", "é,"])
def test_an_answer_that_babbles_is_not_compared(text):
    metric = Recall()
    fault, whole = metric.score_batch(answered(text * 100_000, REPORT.gold[0]))
    assert isinstance(fault, RuleFault) and "more than 600 are not compared" in str(fault)
    assert whole == 1 and metric.batches == [1]


def test_an_answer_may_be_as_long_as_its_report():
    long = REPORT.model_copy(update={"gold": ("effusion " * 1000,)})
    assert Recall().score_batch(answered("effusion " * 1999, task=long)) == [1]
    assert isinstance(Recall().score_batch(answered("effusion " * 2001, task=long))[0], RuleFault)


def test_a_package_that_fails_shows_when_it_is_tried_out(monkeypatch):
    Recall().try_out()
    monkeypatch.setattr(Recall, "compare", lambda self, texts: {}["encode_plus"])
    with pytest.raises(KeyError, match="encode_plus"):
        Recall().try_out()
