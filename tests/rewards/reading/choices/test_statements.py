import pytest

from rewards.reading.choices.option_set import option_set
from rewards.reading.choices.statements import read_letter_with_reason, read_with_explanation
from rewards.reading.reading import unread

OPTIONS = option_set({"A": "Mass", "B": "Edema"})


def never(text, letters):
    return None


@pytest.mark.parametrize(
    "text, letters",
    [
        ("B\nHaze.", "B"),
        ("Haze at the base.\nAnswer: B", "B"),
        ("Haze, so B", "B"),
        ("B because of haze", "B"),
        ("Haze.\nB", None),  # a later piece must say that it is the answer
        ("Haze.\nMore haze.", None),
        ("B, so it is", None),
        ("B", None),
    ],
)
def test_the_piece_that_is_the_answer(text, letters):
    found = read_with_explanation(text, OPTIONS, never)
    assert (found and found.value) == (tuple(letters) if letters else None)


def test_two_answers_or_an_objection_leave_it_unread():
    assert read_with_explanation("Answer: A. Answer: B.", OPTIONS, never).unread == "contradicts itself"
    found = read_with_explanation("B\nHaze.", OPTIONS, lambda text, letters: unread("hedges", text))
    assert (found.unread, found.detail) == ("hedges", "Haze.")


@pytest.mark.parametrize(
    "text, letters",
    [("B - haze at both bases", "B"), ("B - haze", None), ("B: no haze is here", None), ("H - a b c", None)],
)
def test_a_letter_with_its_reason(text, letters):
    found = read_letter_with_reason(text, OPTIONS, never)
    assert (found and found.value) == (tuple(letters) if letters else None)
