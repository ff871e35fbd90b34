import pytest

from curriculum.task import NO_FINDING
from rewards.reading.choices.option_set import option_set, tokens_of, words_of


def test_options_know_their_findings_and_what_tells_them_apart():
    options = option_set({"A": "Left pleural effusion", "B": "Right effusion", "C": "Normal", "D": "PA view"})
    assert options.finding == {"A": "Effusion", "B": "Effusion", "C": NO_FINDING}
    assert options.letters_of == {"Effusion": {"A", "B"}, NO_FINDING: {"C"}}
    assert {"left", "right"} <= options.telling_words and options.healthy_letter == "C" and options.yes_no is None


def test_yes_and_no_in_any_order():
    assert option_set({"A": " no", "B": "YES"}).yes_no == {"no": "A", "yes": "B"}


def test_equal_options_are_prepared_once():
    assert option_set({"A": "Mass"}, "Which?") is option_set({"A": "Mass"}, "Which?")


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("It's left-sided.", ["It's", "left-sided", "."]),
        ("B-D, x-ray\n(C)", ["B", "-", "D", ",", "x", "-", "ray", "\n", "(", "C", ")"]),
    ],
)
def test_words_and_marks(text, tokens):
    assert [match[0] for match in tokens_of(text)] == tokens


def test_words_of_a_text():
    assert words_of("Left-sided Effusion (small)") == ("left", "sided", "effusion", "small")
