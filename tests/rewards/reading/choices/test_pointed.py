import pytest

from rewards.reading.choices.option_set import option_set
from rewards.reading.choices.pointed import read_pointed_letter
from rewards.reading.reading import unread

OPTIONS = option_set({"A": "Mass", "B": "Edema", "C": "Nodule"})


def never(text, letters):
    return None


@pytest.mark.parametrize(
    "text, letter",
    [
        ("After all that I am going with B.", "B"),
        ("Having looked at everything, B fits best.", "B"),
        ("It points → C", "C"),
        ("The film corresponds to B: Edema", "B"),
        ("With all that, B.", "B"),
        ("本题应该选 B", "B"),
        ("Option A is the one", "A"),
    ],
)
def test_the_one_letter_that_is_pointed_to(text, letter):
    assert read_pointed_letter(text, OPTIONS, never).value == (letter,)


@pytest.mark.parametrize(
    "text",
    [
        "I choose A. I choose B.",
        "I would not choose B",
        "I refuse to choose B",
        "Choose anything except B",
        "It might be B",
        "It is not, in my view, B",
        "Kerley B lines are seen",
        "Hepatitis B is known",
        "It is A nodule",
        "A fits",  # an article, it may be
        "Is it B?",
        "我选 A, 不选 B",
        "答案可能是 B",
        "I choose H",
        "I choose B " + "and so on " * 40,
    ],
)
def test_nothing_is_pointed_to_or_it_is_doubted(text):
    assert read_pointed_letter(text, OPTIONS, never) is None


def test_what_speaks_against_the_letter_leaves_it_unread():
    found = read_pointed_letter("I choose B.", OPTIONS, lambda text, letters: unread("hedges", text))
    assert found.value is None and found.unread == "hedges"
