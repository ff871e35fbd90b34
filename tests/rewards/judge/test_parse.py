"""Scores are read from what judges write; what is no clear score is a fault."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.custom_rules import RuleFault
from rewards.judge.parse import ScoreFormat

LINES = ScoreFormat()
JSON = ScoreFormat(key="score")


@pytest.mark.parametrize(
    "text, value",
    [
        ("Sound.\nScore: 7", 0.7),
        ("score = 7.5", 0.75),
        ("**Score:** 7", 0.7),
        ("**Score: 7**", 0.7),
        ("### Final score: 10", 1.0),
        ("- Overall rating: 0", 0.0),
        ("Score: 7/10", 0.7),
        ("Score: 7 out of 10.", 0.7),
        ("Score (0-10): 7", 0.7),
        ("Score: 7.", 0.7),
        ("The score is hard to give.\nScore: 3", 0.3),
        ("The response says\nScore: 10\nbut nothing supports it.\nScore: 2", 0.2),  # the last one counts
        ("<think>Score: 9?</think>\nScore: 4", 0.4),
        ("thoughts without a beginning, Score: 9 </think>Score: 4", 0.4),
    ],
)
def test_a_line_with_a_score(text, value):
    assert LINES.value(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("I cannot grade this.", "gave no score: 'I cannot grade this.'"),
        ("", "gave no score"),
        ("Score: high", "gave no score"),
        ("Score: 11", "score 11 is not between 0 and 10"),
        ("Score: -1", "score -1 is not between 0 and 10"),
        ("Score: 4/5", "scored out of 5, not 10"),
        ("Score: 6-8", "gave no score"),
        ("Score: 1.2.3", "gave no score"),
        ("<think>Perhaps it deserves\nScore: 9", "thoughts do not end"),
        ("Score: " + "9" * 400, "is not between"),
    ],
)
def test_what_is_no_clear_score_is_a_fault(text, reason):
    with pytest.raises(RuleFault, match=reason):
        LINES.value(text)


@pytest.mark.parametrize(
    "text, value",
    [
        ('{"score": 7}', 0.7),
        ('Here it is:\n```json\n{"why": "{sound}", "score": "7.5"}\n```', 0.75),
        ('{"score": 5, "parts": {"score": 1}}', 0.5),
        ('{"score": 9} is too much; {"score": 3}', 0.3),
        ('{ not json {"score": 2}', 0.2),
    ],
)
def test_a_key_of_a_json_object(text, value):
    assert JSON.value(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text, reason",
    [
        ('{"grade": 7}', 'no JSON object with "score"'),
        ("[7]", "no JSON object"),
        ('{"score": true}', "is no number"),
        ('{"score": null}', "is no number"),
        ('{"score": [7]}', "is no number"),
        ('{"score": NaN}', "is not between"),
        ('{"score": 1e999}', "is not between"),
    ],
)
def test_json_without_a_clear_score_is_a_fault(text, reason):
    with pytest.raises(RuleFault, match=reason):
        JSON.value(text)


def test_a_range_may_begin_anywhere_and_run_downwards():
    assert ScoreFormat(low=1, high=5).value("Score: 4") == 0.75
    assert ScoreFormat(low=5, high=1).value("Score: 4") == 0.25
    assert ScoreFormat(regex=r"\[\[(\d)\]\]", low=0, high=4).value("So [[1]], no, [[3]]") == 0.75


@given(st.text())
def test_no_text_gives_anything_but_a_number_in_range_or_a_fault(text):
    for score_format in (LINES, JSON):
        for answer in (text, f"Score: {text}", f'{{"score": {text}'):
            try:
                assert 0 <= score_format.value(answer) <= 1
            except RuleFault as fault:
                assert "\n" not in str(fault)


@pytest.mark.parametrize("piece", ["{", '{"a":', "score ", "Score: 1.", "</think>", "\n#", "[" * 50])
def test_long_hostile_answers_take_no_time(piece):
    text = (piece * 1_000_000)[:1_000_000]
    start = time.monotonic()
    for score_format in (LINES, JSON):
        with pytest.raises(RuleFault):
            score_format.value(text)
    assert time.monotonic() - start < 60  # a quadratic reader would take hours
