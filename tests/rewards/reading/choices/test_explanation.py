import pytest

from rewards.reading.choices.explanation import objection
from rewards.reading.choices.option_set import option_set

OPTIONS = option_set({"A": "Mass", "B": "Pleural effusion", "C": "Left lung", "D": "No finding"})


@pytest.mark.parametrize(
    "text, reason",
    [
        ("The angle is blunted.", None),
        ("There is an effusion and no mass.", None),
        ("A is incorrect.", None),
        ("A pleural line is missing.", None),
        ("There is a mass.", "contradicts itself"),
        ("It may be a mass.", "contradicts itself"),
        ("No effusion is seen.", "contradicts itself"),
        ("Option A fits as well.", "contradicts itself"),
        ("B is wrong.", "contradicts itself"),
        ("It lies in the left lung.", "contradicts itself"),
        ("Wait, that is too quick.", "takes it back"),
        ("On second thought, no.", "takes it back"),
        ("I am not sure.", "hedges"),
        ("Maybe.", "hedges"),
        ("Is it?", "asks a question"),
    ],
)
def test_what_speaks_against_an_answer(text, reason):
    found = objection(text, frozenset("B"), OPTIONS)
    assert (found and found.unread) == reason


def test_a_healthy_film_has_no_finding():
    assert objection("There is edema.", frozenset("D"), OPTIONS) and not objection("No edema.", frozenset("D"), OPTIONS)
