import pytest

from curriculum.task import NO_FINDING
from rewards.reading.choices.option_set import option_set
from rewards.reading.choices.yes_no import asked, objection, read_yes_no

OPTIONS = option_set({"A": "Yes", "B": "No"}, "Is there an effusion?")


@pytest.mark.parametrize(
    "question, finding",
    [
        ("Is the heart enlarged?", "Cardiomegaly"),
        ("Is this film normal?", NO_FINDING),
        ("Is there any abnormality?", "abnormal"),
        ("Is there a mass or edema?", None),
        ("Is the film sharp?", None),
        ("Name the mass.", None),
    ],
)
def test_what_a_question_asks_about(question, finding):
    assert asked(question) == finding


@pytest.mark.parametrize(
    "text, letter, reason",
    [
        ("Yes, small effusion, no mass.", "A", None),
        ("No; there is a mass.", "B", None),
        ("An effusion is seen.", "A", None),
        ("No effusion.", "B", None),
        ("Effusion", "", "says nothing of what was asked"),
        ("No mass.", "", "says nothing of what was asked"),
        ("Yes, no effusion.", "", "contradicts itself"),
        ("No, it is present.", "", "contradicts itself"),
        ("Yes, an effusion may be present.", "", "hedges"),
        ("Yes, wait.", "", "takes it back"),
        ("Is there an effusion?", "", "asks a question"),
        ("Yes, " + "indeed " * 100, "", "too long"),
    ],
)
def test_yes_or_no(text, letter, reason):
    found = read_yes_no(text, OPTIONS)
    assert found.value == (tuple(letter) or None) and found.unread == reason


def test_an_unknown_question_takes_only_what_all_findings_say():
    assert (
        objection(", edema", "yes", None) is None
        and objection(", no edema", "yes", None).unread == "contradicts itself"
    )
