import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.reading.choices.option_list import read_list
from rewards.reading.choices.option_set import option_set

SEVEN = option_set(
    dict(zip("ABCDEFG", ["Mass", "Edema", "Hernia", "Nodule", "Effusion", "Fibrosis", "Fracture"], strict=True))
)
ATOMS = [
    *"ABH",
    "Mass",
    "edema",
    " ",
    ", ",
    " and ",
    "(",
    ")",
    "\n",
    "the answer is ",
    "or ",
    "not ",
    "small ",
    "答案",
    "AC",
]


def letters(text):
    listed = read_list(text, SEVEN)
    return listed and "".join(sorted(listed.letters))


@pytest.mark.parametrize(
    "text, named",
    [
        ("AC", "AC"),
        ("A C E", "ACE"),
        ("CA", None),
        ("C A", None),
        ("ABD", None),
        ("AF", None),
        ("AH", None),
        ("ac", None),
    ],
)
def test_a_run_of_letters_is_in_order_and_no_abbreviation(text, named):
    assert letters(text) == named


@pytest.mark.parametrize("text, is_explicit", [("Answer: B", True), ("答案:B", True), ("B", False), ("It is B", False)])
def test_whether_a_list_says_that_it_is_the_answer(text, is_explicit):
    listed = read_list(text, SEVEN)
    assert listed and listed.is_explicit is is_explicit


def test_a_list_of_more_items_than_any_question_has_is_no_answer():
    assert letters(", ".join("A" * 20)) == "A" and letters(", ".join("A" * 200)) is None


@given(st.lists(st.sampled_from(ATOMS), max_size=12).map("".join))
def test_only_letters_of_options_are_listed(text):
    listed = read_list(text, SEVEN)
    assert listed is None or (listed.letters and listed.letters <= SEVEN.texts.keys())
    if "or " in text or "not " in text:
        assert listed is None
