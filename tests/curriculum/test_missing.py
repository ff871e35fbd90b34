import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.missing import is_missing, says_nothing, valid_text, valid_texts


@pytest.mark.parametrize(
    "value", [None, "", " \n", "nan", "NaN", " NAN ", "<NA>", "NaT", "null", "N/A", float("nan"), float("inf")]
)
def test_missing_values(value):
    assert is_missing(value)


@pytest.mark.parametrize("value", ["None", "No", "nano", "Nathan", 0, 0.0, False, [], "none", "normal"])
def test_values(value):
    assert not is_missing(value)


@pytest.mark.parametrize(
    "text", ["XXXX", "XXXX XXXX.", "1. ___", "[**Name 1**]", "...", "[REDACTED]", "<removed>", "███", "?"]
)
def test_marks_say_nothing(text):
    assert says_nothing(text)


@pytest.mark.parametrize("text", ["XXXX clear", "12", "No", "[**2101**] clear", "A", "No pleural effusion since ___"])
def test_texts_say_something(text):
    assert not says_nothing(text)


@given(st.text(st.characters()) | st.text(st.sampled_from("a\ud83d\ude00\0\ufeff")))
def test_valid_text_is_utf_8_and_keeps_what_is_valid(text):
    found = valid_text(text)
    assert found.encode() is not None and "\0" not in found and valid_text(found) == found
    kept = [c for c in text if c not in "\0\ufeff"]
    assert [b for a, b in zip(kept, found, strict=True) if a != b] == ["\ufffd"] * sum(
        "\ud800" <= c <= "\udfff" for c in kept
    )


def test_valid_texts_reaches_every_text():
    assert valid_texts({"a\0": ["\ud83d", 1, {"b": "\ufeffx"}], "c": None}) == {
        "a": ["\ufffd", 1, {"b": "x"}],
        "c": None,
    }
