import pytest

from curriculum.importers.parts.label import check_findings, read_age, read_number
from curriculum.taskset import TaskSetError

VOCABULARY = ("Edema", "Mass", "Nodule")


@pytest.mark.parametrize("findings, healthy", [([], True), (["Mass"], False), (["Nodule", "Edema"], False)])
def test_no_finding_or_some_of_the_vocabulary(findings, healthy):
    check_findings("row 3", findings, healthy, VOCABULARY)


@pytest.mark.parametrize(
    "findings, healthy, words",
    [
        (["Flu"], False, "row 3: 'Flu' is none of the findings; they are No finding or Edema, Mass, Nodule"),
        ([], False, "either no finding or some of them"),
        (["Mass"], True, "either no finding or some of them"),
        (["Mass", "Mass"], False, "each once"),
        (list(VOCABULARY), False, "some of them"),  # then no option would be wrong
    ],
)
def test_other_labels_are_refused(findings, healthy, words):
    with pytest.raises(TaskSetError, match=words):
        check_findings("row 3", findings, healthy, VOCABULARY)


def test_numbers():
    assert read_number("row 3", "x", "1.5e1") == 15
    for text in ("", "a", "nan", "inf"):
        with pytest.raises(TaskSetError, match=f"row 3: x is '{text}'; a number is needed"):
            read_number("row 3", "x", text)


@pytest.mark.parametrize(
    "value, years",
    [
        (58, 58),
        ("058Y", 58),
        (" 4y ", 4),
        ("6.5", 6.5),
        ("120", 120),
        ("148", None),
        ("", None),
        (None, None),
        ("-3", None),
        ("5²", None),
        (float("nan"), None),
    ],
)
def test_ages(value, years):
    assert read_age(value) == years
