import doctest

import pytest

from rewards import answer_key
from rewards.forms import letters, names
from tests.support.rewards.responses import OPEN, SINGLE, written


def test_the_worked_example():
    result = doctest.testmod(answer_key)
    assert result.attempted > 5 and result.failed == 0


def test_a_report_adds_what_it_says_and_the_gold_outranks_it():
    report = "Enlarged heart. No effusion. There is a mass."
    key = letters.key_of(SINGLE.model_copy(update={"reference": report}))
    assert key.truth["Cardiomegaly"] is True and key.truth["Effusion"] is False  # from the report
    assert key.truth["Edema"] is True and key.truth["Mass"] is False  # from the gold, whatever the report says
    assert key.required == set("ABCD")


def test_the_names_that_a_trace_judges_are_the_candidates():
    reference = written(
        ("These.", "Edema, Mass"), ("Edema.", "Edema ✅"), ("No mass.", "Mass ❌"), ("So.", ", ".join(OPEN.gold))
    )
    key = names.key_of(OPEN.model_copy(update={"reference": reference}))
    assert key.candidates == key.required == {"Edema", "Mass"}
    assert key.expected_of("Mass").absent == {"Mass"} and key.truth["Mass"] is False
    assert key.reference_thinks == {"Edema": "Edema.", "Mass": "No mass."}


@pytest.mark.parametrize(
    "reference, asks_for_steps, asks_for_facts",
    [
        (None, True, True),
        ("Edema.", True, True),
        (written(("Edema.", "B")), False, False),
        (written(("Look.", "A ❌"), ("Look again.", "B ✅"), ("So.", "B")), True, False),
        (written(("No mass.", "A ❌"), ("Look.", "B ✅"), ("So.", "B")), True, True),
    ],
)
def test_what_a_reference_asks_for(reference, asks_for_steps, asks_for_facts):
    key = letters.key_of(SINGLE.model_copy(update={"reference": reference}))
    assert (key.asks_for_steps, key.asks_for_facts) == (asks_for_steps, asks_for_facts)
    assert bool(key.expected_of("A")) == asks_for_facts
