import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.reading.plain import is_blank, plain, skip_blank


@pytest.mark.parametrize(
    "answer, text",
    [
        ("**B**", "B"),
        ("#### B", "B"),
        ("<b>B</b>", "B"),
        ("<B>", "<B>"),
        ("\\boxed{\\text{B}}", "answer: B"),
        ("B\\. Mass", "B. Mass"),
        ("Ｂ。", "B."),
        ("🅑", "B"),
        ("答案是B", "答案是 B"),
        ("B<|im_end|></s>", "B"),
        ("A<br>B", "A\nB"),
        ("~~B~~", "~~B~~"),
        ("it's", "it's"),
    ],
)
def test_decoration_goes_and_words_stay(answer, text):
    assert plain(answer) == text


def test_blank_is_what_shows_nothing():
    assert is_blank(" \n\ufeff\u200b") and is_blank("") and not is_blank("</s>")
    assert skip_blank("\u200b</s> <|im_end|>x", at_end=True) == len("\u200b</s> <|im_end|>")


@given(st.text())
def test_any_text_becomes_stripped(text):
    assert plain(text) == plain(text).strip()
