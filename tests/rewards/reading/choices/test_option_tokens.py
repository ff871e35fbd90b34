import pytest

from rewards.reading.choices.option_set import option_set
from rewards.reading.choices.option_tokens import OptionTokens, is_cjk_frame

OPTIONS = option_set({"A": "Mass", "B": "Pleural effusion", "C": "Effusion"})


def tokens(text):
    return OptionTokens(text, OPTIONS)


def test_the_longest_text_of_an_option_counts():
    assert tokens("pleural effusion").own_text(0) == ("B", 2)
    assert tokens("Effusion, mass").own_text(0) == ("C", 1)
    assert tokens("pleural, effusion").own_text(0) is None


@pytest.mark.parametrize(
    "text, phrase",
    [
        ("small left, large", "small left"),
        ("mass (small, left) and more", "mass (small, left)"),
        ("haze C) more", "haze"),
        ("haze.", "haze"),
    ],
)
def test_a_phrase_ends_at_a_separator_outside_brackets(text, phrase):
    found = tokens(text)
    assert found.between(0, found.phrase_end(0)) == phrase


@pytest.mark.parametrize("text, is_tail", [("is correct.", True), ("are the best", True), ("is", False), ("!", True)])
def test_what_may_follow_the_last_option(text, is_tail):
    assert tokens(text).is_tail(0) is is_tail


def test_separators_and_numbers_stand_between_items():
    assert tokens(", and B").after_separator(0) == 2
    assert tokens("\n2) B").after_separator(0) == 3
    assert tokens("haze B").after_separator(0) is None


def test_words_of_scripts_without_blanks():
    assert is_cjk_frame("正确答案是") and not is_cjk_frame("肺水肿") and not is_cjk_frame("answer")
