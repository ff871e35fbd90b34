"""Answers that say that nothing is wrong."""

import pytest

from curriculum.importers.parts.answers import Unreadable, read_names
from curriculum.importers.parts.normal import denies, is_normal
from curriculum.task import Task
from tests.support.data_sets import assert_gold_is_answerable

HEALTHY = """No acute cardiopulmonary process
No acute cardiopulmonary abnormality.
NO ACUTE DISEASE
No abnormalities detected
No abnormality is seen
no significant abnormality seen
There is no evidence of acute disease.
No radiographic evidence of acute cardiopulmonary process
No acute cardiac or pulmonary process
No active lung disease
No signs of disease
Clear lungs
The lungs are clear.
Lungs are clear bilaterally
Normal chest X-ray
normal chest radiograph.
This is a normal chest x-ray
The chest is unremarkable
Negative chest
Within normal limits
The heart and lungs are normal
Normal heart size and clear lungs
Normal heart size, clear lungs
Clear lungs. Normal heart size. No effusion.
No acute cardiopulmonary process. Lungs are clear.
None
Nothing abnormal
No finding
No findings
Healthy""".splitlines()


@pytest.mark.parametrize("answer", HEALTHY)
def test_a_healthy_film(answer):
    assert is_normal(answer) and read_names(answer) == ()


@pytest.mark.parametrize(
    "answer",
    [
        "Cardiomegaly",
        "No acute cardiopulmonary process, mild cardiomegaly",
        "No acute osseous abnormality",
        "Clear cell carcinoma",
        "Normal pressure hydrocephalus",
        "Abnormal chest",
        "No change",
        "No acute process in the left lung",
        "The lungs are not clear",
        "No pneumothorax",
        "Normal heart size",
        "No longer clear",
        "normal " * 100,
    ],
)
def test_anything_else(answer):
    assert not is_normal(answer)


@pytest.mark.parametrize(
    "answer", ["No pneumothorax", "Mass, no effusion", "Without edema", "No acute process, mild cardiomegaly"]
)
def test_what_is_not_there_is_no_name(answer):
    with pytest.raises(Unreadable, match="says what is not there"):
        read_names(answer)


def test_denials():
    assert denies("Absence of edema") and not denies("Nodule") and not denies("Notching of ribs")


def test_the_gold_of_a_healthy_film_is_answered_by_no_finding():
    gold = read_names("No acute cardiopulmonary process")
    assert_gold_is_answerable(
        [Task(id="t", domain="open", family="vqa", question="Which findings?", gold=gold, images=())]
    )
