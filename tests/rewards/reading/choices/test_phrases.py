import pytest

from rewards.reading.choices.option_set import option_set
from rewards.reading.choices.phrases import agrees, contradicts, letters_of_finding, named_by

CHEST = option_set({"A": "Mass", "B": "Pleural effusion", "C": "Fracture", "D": "No finding"})
SIDED = option_set({"A": "Left effusion", "B": "Right effusion", "C": "Mass"})


@pytest.mark.parametrize(
    "phrase, letters",
    [
        ("small left pleural effusion", "B"),
        ("pleural fluid", "B"),
        ("rib fracture", "C"),
        ("normal chest", "D"),
        ("left, small", ""),
        ("no effusion", None),
        ("possible effusion", None),
        ("effusion or mass", None),
        ("consolidation", None),
        ("effusion?", None),
        ("A mass B", None),
    ],
)
def test_what_a_phrase_names(phrase, letters):
    assert named_by(phrase, CHEST) == (None if letters is None else frozenset(letters))


def test_a_side_counts_if_it_tells_options_apart():
    assert named_by("effusion", SIDED) == {"A", "B"} and named_by("small left effusion", SIDED) == {"A"}
    assert named_by("bilateral mass", SIDED) == {"C"}
    assert contradicts(("right", "effusion"), frozenset("A"), SIDED)
    assert not contradicts(("right", "mass"), frozenset("C"), SIDED)


@pytest.mark.parametrize(
    "phrase, letters, is_same",
    [
        ("small", "B", True),
        ("pleural", "B", True),
        ("effusion", "B", True),
        ("mass", "B", False),
        ("mass", "AB", True),
        ("mass and effusion", "B", False),
        ("haze", "B", False),
    ],
)
def test_words_beside_an_option(phrase, letters, is_same):
    assert agrees(phrase, frozenset(letters), CHEST) is is_same


def test_a_finding_belongs_to_the_option_that_it_is_a_kind_of():
    assert letters_of_finding("Rib Fracture", CHEST) == {"C"} and letters_of_finding("Edema", CHEST) == frozenset()
