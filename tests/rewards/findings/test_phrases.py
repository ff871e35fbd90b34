import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.findings.extract import extract
from rewards.findings.phrases import phrases_of, spans_of, words_of


def names(text):
    return {mention.finding for mention in extract(text).mentions}


@given(st.text(st.characters(max_codepoint=300)))
def test_a_word_stands_where_its_span_says(sentence):
    lower = sentence.lower()
    assert [lower[start:end] for start, end in spans_of(lower)] == words_of(lower)


def test_the_longest_phrase_counts_with_what_it_says_of_its_finding():
    (finding, stop) = phrases_of(["left", "lower", "lobe", "atelectasis"])
    assert (finding.kind, finding.payload, finding.start, finding.end) == ("finding", "Lobar Atelectasis", 0, 4)
    assert finding.attributes == (("side", "left"), ("place", "lower"))
    assert stop.kind == "stop"


def test_a_sentence_without_a_topic_has_no_phrases():
    assert [event.kind for event in phrases_of(words_of("no, he is not here"))] == ["stop"]


@pytest.mark.parametrize(
    "text, found",
    [
        ("Emphysema along the right lateral chest wall.", {"Subcutaneous Emphysema"}),
        ("Nodule in the thyroid gland.", set()),
        ("Chest wall mass.", set()),
        ("Nodule in the lung with thyroid enlargement.", {"Nodule"}),
        ("Pleural or pericardial effusion.", {"Effusion", "Pericardial Effusion"}),
        ("Pericardial effusion.", {"Pericardial Effusion"}),
    ],
)
def test_the_place_decides_what_a_finding_is(text, found):
    assert names(text) == found


@pytest.mark.parametrize(
    "ratio, is_large",
    [
        ("of 0.62", True),
        ("is 55%", True),
        ("is 0.44", False),
        ("is less than 0.5", False),
        ("exceeds 0.5", True),
        ("> 50%", True),
        ("does not exceed 0.5", False),
        ("is not increased", False),
        ("is increased", True),
    ],
)
def test_a_ratio_tells_the_size_of_the_heart(ratio, is_large):
    found = extract(f"The cardiothoracic ratio {ratio}.")
    assert ("Cardiomegaly" in found.present, "Cardiomegaly" in found.absent) == (is_large, not is_large)


@pytest.mark.parametrize(
    "text, is_large",
    [
        ("The cardiothoracic ratio is 0.62.", True),
        ("Cardio-thoracic ratio of approximately 55%", True),
        ("Heart-to-chest ratio 0.6", True),
        ("CTR > 0.5", True),
        ("CTR ≥ 0.5", True),
        ("CTR is greater than 50 %", True),
        ("The cardiothoracic ratio exceeds one-half", True),
        ("The cardiothoracic ratio is 1/2", None),
        ("The heart occupies more than half of the chest", True),
        ("the cardiac width is greater than 50% of the thoracic diameter", True),
        ("CTR 0.45", False),
        ("CTR ≤ 0.5", False),
        ("the cardiothoracic ratio is less than 0.5", False),
        ("The heart takes up less than half of the width", False),
        ("the cardiac width is under 50% of the internal thoracic diameter", False),
        ("The heart does not occupy more than half of the chest", False),
        ("the cardiothoracic ratio is 0.5", None),
        ("The heart is 55 mm wide", None),
        ("the ratio is unknown. 0.62 mg", None),
        ("half of the film", None),
    ],
)
def test_ratios_of_heart_to_chest_are_read_in_figures_and_words(text, is_large):
    found = extract(text)
    assert ("Cardiomegaly" in found.present, "Cardiomegaly" in found.absent) == (is_large is True, is_large is False)
