import pytest

from rewards.comparison.attributes import Attributes
from rewards.comparison.facts import MAX_CHARACTERS, Agreement, Facts, agreement, facts_from, facts_of
from rewards.findings.sentence_reader import Mention

EDEMA_NOT_MASS = facts_of("There is edema. No mass.")


def test_facts_are_what_is_asserted_or_denied():
    assert Facts.of(frozenset({"Edema"}), frozenset({"Mass"})) == EDEMA_NOT_MASS
    assert not facts_of("Possible edema. Look again.") and not facts_of("")
    assert not facts_of(" " * MAX_CHARACTERS + "Edema.")


def test_a_kind_asserts_what_it_is_a_kind_of():
    facts = facts_of("There is a hydropneumothorax.")
    assert facts.says("Effusion") and facts.says("Pneumothorax") and facts.says("Mass") is None


def test_a_text_that_says_both_says_nothing():
    assert facts_of("Edema. No edema.").says("Edema") is None


@pytest.mark.parametrize(
    "text, agree, contradict, missing",
    [
        ("There is edema. No mass.", 2, 0, 0),
        ("No edema. There is a mass.", 0, 2, 2),
        ("Edema.", 1, 0, 1),
        ("Edema. There is a mass.", 1, 1, 1),
        ("Edema. No mass. A nodule and a hernia.", 2, 1, 0),  # a hernia is known to be absent, of the nodule nothing
        ("Edema. No edema. No mass.", 1, 0, 1),
    ],
)
def test_agreement(text, agree, contradict, missing):
    found = agreement(facts_of(text), EDEMA_NOT_MASS, {"Hernia": False})
    assert found == Agreement(agree, contradict, missing)
    stated, right = agree + contradict, agree
    assert found.precision == pytest.approx(right / stated if right else 0)
    precision, recall = (right / stated if stated else 0), right / 2
    assert found.f1 == pytest.approx(2 * precision * recall / (precision + recall) if right else 0)


def test_a_side_that_differs_contradicts_and_one_that_is_missing_counts_half():
    left = facts_of("There is a left effusion.")
    assert left.mentions and not facts_of("There is an effusion.").mentions
    by_side = {
        "There is a left effusion.": Agreement(1, 0, 0),
        "There is a right effusion.": Agreement(0, 1, 1),
        "There is an effusion.": Agreement(0.5, 0, 0.5),
        "Bilateral effusions.": Agreement(0.5, 0, 0.5),
        "Left effusion, no right effusion.": Agreement(1, 0, 0),
        "There is no effusion.": Agreement(0, 1, 1),
    }
    for text, held in by_side.items():
        assert agreement(facts_of(text), left, {}, ["side"]) == held, text
        assert agreement(facts_of("Effusion."), left, {}) == Agreement(1, 0, 0)


def test_what_is_known_must_not_be_contradicted_but_need_not_be_stated():
    silent = facts_of("There is an effusion.")
    known = {"Effusion": Attributes(side=frozenset(["left"]))}
    for text, held in [("Effusion.", (1, 0, 0)), ("Left effusion.", (1, 0, 0)), ("Right effusion.", (0, 1, 1))]:
        assert agreement(facts_of(text), silent, {}, ["side"], known) == held, text
    wrong = facts_of("There is a right effusion.")  # the reference's own error
    assert agreement(wrong, wrong, {}, ["side"], known) == (1, 0, 0)


def test_severity_and_place_are_compared_too():
    def facts(severity, place):
        return facts_from([Mention("Effusion", "present", "left", severity, place)])

    everything = ["side", "severity", "place"]
    gold = facts("severe", "basal")
    for severity, place, held in [
        ("severe", "basal", 1),
        ("moderate", "basal", 0.5),
        ("severe", "lower", 0.5),
        ("", "", 0.5),
        ("mild", "basal", 0),
        ("severe", "upper", 0),
    ]:
        assert agreement(facts(severity, place), gold, {}, everything).agree == held
        assert agreement(facts(severity, place), gold, {}, ["side"]).agree == 1


def test_a_normal_part_denies_what_it_would_show_not_the_signs_by_which_it_is_normal():
    """Vessels that reach the chest wall speak against a pneumothorax: normal ones must not speak for it."""
    facts = facts_of("Pulmonary vascularity is normal. The skeleton is normal.")
    assert facts.hinted("Edema", False) > 0
    assert facts.hinted("Pneumothorax", True) == facts.hinted("Fracture", True) == 0
