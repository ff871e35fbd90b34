import pytest

from rewards.findings.facts import MAX_CHARACTERS, Agreement, Facts, agreement, facts_of

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
