"""The names of measures in words."""

import pytest

from cluster.measures.headlines import measure_words


@pytest.mark.parametrize(
    "name, words",
    [
        ("closed_accuracy", "closed accuracy"),
        ("open_micro_f1", "open micro-F1"),
        ("diagnosis_macro_f1", "diagnosis macro-F1"),
        ("boxes_iou_50", "boxes IoU 50"),
        ("report_bertscore_f1", "report BERTScore F1"),
    ],
)
def test_measures_are_written_as_in_papers(name, words):
    assert measure_words(name) == words
