"""The measures of each form of answer, by hand and against sacrebleu."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.missing import says_nothing
from tests.support.results import OPEN, REPORTS, closed, opened, texts, values


def test_measures_by_hand():
    measures = values([closed(0, True), closed(1, True), closed(2, True), closed(3, False), *OPEN])
    assert measures["closed_accuracy"] == measures["binary_accuracy"] == 0.75 and measures["format_rate"] == 1
    # hits: Mass, Mass; gold: 2 + 0 + 1 + 1; found: 2 + 0 + 2 + 1
    assert measures["open_micro_f1"] == measures["diagnosis_micro_f1"] == pytest.approx(2 * 2 / (4 + 5))
    # Mass: 2 of 2 gold, 2 found; Edema: 0 of 2
    assert measures["open_macro_f1"] == pytest.approx((1 + 0) / 2)
    assert measures["open_recall"] == pytest.approx((2 / 2 + 0 / 2) / 2)
    # each task alone: 2 × 1 / (2 + 2), both empty, 2 × 1 / (1 + 2), 0
    assert measures["diagnosis_f1"] == pytest.approx((1 / 2 + 1 + 2 / 3 + 0) / 4)


def test_a_set_of_healthy_films_has_no_findings_to_average():
    measures = values([opened(0, (), "No finding"), opened(1, (), "Mass")])
    assert measures["open_f1"] == 0.5 and measures["open_micro_f1"] == 0 and "open_macro_f1" not in measures


def test_boxes_by_hand():
    asked = dict(family="grounding", form="boxes")
    measures = values(
        [
            opened(0, ("[0, 0, 100, 100]",), "[0, 0, 100, 100]", **asked),
            opened(1, ("[0, 0, 100, 100]",), "[0, 0, 100, 40]", **asked),  # IoU 0.4
            opened(2, ("[0, 0, 100, 100]", "[500, 500, 600, 600]"), "[0, 0, 100, 100]", **asked),  # one of two: 0.5
            opened(3, ("[0, 0, 100, 100]",), "nowhere", **asked),
        ]
    )
    assert measures["boxes_iou"] == measures["grounding_iou"] == pytest.approx((1 + 0.4 + 0.5 + 0) / 4)
    assert measures["grounding_iou_50"] == 0.5 and "open_micro_f1" not in measures


def test_right_texts_are_worth_one():
    measures = values(texts(REPORTS))
    for name in ("bleu", "rouge_l", "clinical_f1"):
        assert measures[f"text_{name}"] == measures[f"findings_{name}"] == pytest.approx(1)
    assert values(texts(["", "", ""]))["text_bleu"] == 0


def test_clinical_f1_is_of_what_is_said_to_be_there():
    # gold: Effusion; found: Mass, Effusion, and Nodule
    answers = ["There is a mass.", "Small right effusion.", "A nodule is seen. No effusion."]
    assert values(texts(answers))["text_clinical_f1"] == pytest.approx(2 * 1 / (1 + 3))


VOCABULARY = ["the", "heart", "is", "normal", ".", "No", "effusion,", "left", "3.5cm", "mass"]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=14).map(" ".join)


GOLDS = WORDS.filter(lambda text: not says_nothing(text))  # as a task's gold may be


@given(st.lists(st.tuples(WORDS, GOLDS), min_size=1, max_size=6))
def test_bleu_is_that_of_sacrebleu(pairs):
    from sacrebleu import corpus_bleu

    answers, golds = zip(*pairs, strict=True)
    results = texts([answer or " " for answer in answers], golds)
    expected = corpus_bleu([r.final for r in results], [golds], lowercase=True).score / 100
    assert values(results)["text_bleu"] == pytest.approx(expected)
