import pytest

from rewards.forms.base import WrittenGold
from rewards.forms.letters import key_of, read_gold
from tests.support.rewards.responses import SINGLE

OPTIONS = {"A": "Mass", "B": "Edema"}
YES_NO = SINGLE.model_copy(
    update={"question": "Is there a pleural effusion?", "options": {"A": "Yes", "B": "No"}, "gold": ("B",)}
)


def test_both_answers_to_a_yes_or_no_question_are_about_its_finding():
    key = key_of(YES_NO)
    assert key.truth == {"Effusion": False}
    assert [key.expected_of(letter).absent for letter in "AB"] == [{"Effusion"}] * 2
    assert key_of(YES_NO.model_copy(update={"gold": ("A",)})).truth == {"Effusion": True}


@pytest.mark.parametrize("question", ["Is the film sharp?", "Is there an effusion or a mass?", "Say what you see."])
def test_a_question_that_asks_about_no_single_finding_expects_no_facts(question):
    key = key_of(YES_NO.model_copy(update={"question": question}))
    assert key.truth == {} and not any(key.expected_of(letter) for letter in "AB")


def test_without_a_reference_every_option_must_be_judged():
    key = key_of(SINGLE)
    assert key.required == key.candidates == set("ABCD") and key.asks_for_steps
    assert key.truth == {"Mass": False, "Edema": True, "Hernia": False, "Nodule": False}


@pytest.mark.parametrize(
    "gold, options, letters, published",
    [
        (["B"], OPTIONS, ["B"], "B"),
        (["edema"], OPTIONS, ["B"], "E"),  # the published code takes the first letter from A to G
        (["A and B"], OPTIONS, ["A", "B"], "A"),
        (["Yes"], {}, ["A"], "E"),
        (["no."], {}, ["B"], ""),
        ([], OPTIONS, [], None),
    ],
)
def test_a_written_gold(gold, options, letters, published):
    read = read_gold(WrittenGold(gold, False, options))
    assert read.gold == letters and read.published == (() if published is None else (published,))
    assert read.options == (options or {"A": "Yes", "B": "No"})


@pytest.mark.parametrize(
    "gold, options, reason", [(["Edema"], {}, 'needs "options"'), (["Hernia"], OPTIONS, "is none of the options")]
)
def test_a_gold_that_names_no_option_is_refused(gold, options, reason):
    with pytest.raises(ValueError, match=reason):
        read_gold(WrittenGold(gold, False, options))
