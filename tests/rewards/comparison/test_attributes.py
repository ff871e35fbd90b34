import pytest

from rewards.comparison.attributes import (
    UNKNOWN,
    UNSAID,
    Attributes,
    attributes_of,
    attributes_of_names,
    contradicted,
    denied_elsewhere,
    differences,
    likeness,
    likenesses,
)
from rewards.findings.sentence_reader import Mention

LEFT, RIGHT, BOTH = (Attributes(frozenset(sides)) for sides in (["left"], ["right"], ["left", "right"]))
MILD_BASAL = Attributes(severity=frozenset(["mild"]), place=frozenset(["basal"]))


def test_attributes_are_those_of_asserted_mentions_and_of_what_they_are_kinds_of():
    found = attributes_of(
        [
            Mention("Hydropneumothorax", "present", "left"),
            Mention("Effusion", "present", "", "mild", "basal"),
            Mention("Mass", "absent", "right"),
            Mention("Nodule", "uncertain", "right"),
            Mention("Edema", "present"),
            Mention("Fibrosis", "present", "bilateral"),
        ]
    )
    assert found == {
        "Hydropneumothorax": LEFT,
        "Pneumothorax": LEFT,
        "Effusion": LEFT.joined(MILD_BASAL),
        "Fibrosis": BOTH,
    }


@pytest.mark.parametrize(
    "names, found",
    [
        (["Left pleural effusion"], {"Effusion": LEFT}),
        (["Effusion", "left"], {"Effusion": LEFT}),
        (["Left effusion", "right effusion"], {"Effusion": BOTH}),
        (["Bilateral pleural effusions"], {"Effusion": BOTH}),
        (["left right effusion"], {"Effusion": BOTH}),
        (["left effusion", "Mass"], {"Effusion": LEFT}),
        (["Right effusion", "left pneumothorax"], {"Effusion": RIGHT, "Pneumothorax": LEFT}),
        (["no right effusion"], {}),
        (["Effusion", "Bent rib of the left side of the chest"], {}),
        ([], {}),
    ],
)
def test_attributes_of_a_list_of_names(names, found):
    attributes = attributes_of_names(names)
    assert {name: value for name, value in attributes.items() if name in ("Effusion", "Pneumothorax")} == found


@pytest.mark.parametrize(
    "said, known, value",
    [
        (LEFT, LEFT, 1),
        (LEFT, RIGHT, 0),
        (UNKNOWN, LEFT, UNSAID),
        (LEFT, UNKNOWN, 1),
        (BOTH, LEFT, UNSAID),
        (LEFT, BOTH, UNSAID),
        (BOTH, BOTH, 1),
    ],
)
def test_likeness_of_sides(said, known, value):
    assert likeness(said, known, ["side"]) == value
    assert likeness(said, known, []) == likeness(said, known, ["severity", "place"]) == 1


@pytest.mark.parametrize(
    "said, known, value",
    [("mild", "mild", 1), ("mild", "moderate", UNSAID), ("mild", "severe", 0), ("severe", "moderate", UNSAID)],
)
def test_likeness_of_severity(said, known, value):
    one, other = (Attributes(severity=frozenset([word])) for word in (said, known))
    assert likeness(one, other, ["severity"]) == value and likeness(one, other, ["side"]) == 1
    everything = Attributes(severity=frozenset(["mild", "moderate", "severe"]))
    assert likeness(everything, other, ["severity"]) == UNSAID


@pytest.mark.parametrize(
    "said, known, value",
    [("upper", "upper", 1), ("apical", "upper", UNSAID), ("lower", "basal", UNSAID), ("upper", "lower", 0)],
)
def test_likeness_of_place(said, known, value):
    one, other = (Attributes(place=frozenset([word])) for word in (said, known))
    assert likeness(one, other, ["place"]) == value


def test_the_worst_attribute_counts():
    assert likeness(LEFT.joined(MILD_BASAL), RIGHT.joined(MILD_BASAL), ["side", "severity", "place"]) == 0
    assert likeness(LEFT, LEFT.joined(MILD_BASAL), ["side", "severity", "place"]) == UNSAID
    assert likeness(LEFT, LEFT.joined(MILD_BASAL), ["side"]) == 1


def test_what_does_not_fit_is_told():
    said = {"Effusion": RIGHT, "Mass": LEFT}
    known = {"Effusion": LEFT, "Mass": LEFT, "Edema": BOTH}
    names = ["Mass", "Effusion", "Edema", "Hernia"]
    assert likenesses(said, known, names, ["side"]) == {"Effusion": 0, "Edema": UNSAID}
    assert differences(said, known, names, ["side"]) == "Edema: no side, gold bilateral; Effusion: right, gold left"
    assert contradicted(said, known) == {"Effusion"}


@pytest.mark.parametrize(
    "mentions, found",
    [
        ([Mention("Effusion", "present", "left"), Mention("Effusion", "absent", "right")], {"Effusion"}),
        ([Mention("Effusion", "present", "left"), Mention("Effusion", "absent", "left")], set()),
        ([Mention("Effusion", "present", "left"), Mention("Effusion", "absent")], set()),
        ([Mention("Effusion", "present"), Mention("Effusion", "absent", "right")], set()),
        ([Mention("Effusion", "present", "bilateral"), Mention("Effusion", "absent", "right")], set()),
    ],
)
def test_a_denial_of_the_other_side_denies_nothing(mentions, found):
    assert denied_elsewhere(mentions) == found
