import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.importers.labels.nih import FINDINGS
from rewards.comparison.facts import Facts, agreement, facts_of
from rewards.findings.extract import extract, mentions_of
from rewards.findings.ontology import expand, load_ontology
from rewards.findings.signs import SUGGESTIVE, SURE, Hint, is_sign, load_signs
from tests.support.rewards.sign_words import OWN_WORDS
from tests.support.rewards.transcripts import MANY

SIGNS = load_signs().signs
CASES = [(name, finding) for name, sign in SIGNS.items() for finding in sign.findings]


def test_every_sign_has_its_words_here_a_source_and_findings_of_the_ontology():
    assert OWN_WORDS.keys() == SIGNS.keys()
    findings = load_ontology().findings
    for name, sign in SIGNS.items():
        assert sign.source and sign.seen >= sign.unseen and set(sign.findings) <= findings.keys()
        assert is_sign(name) != (name in findings) and len(set(sign.findings)) == len(sign.findings)


def grounding(text, finding, is_present):
    expected = Facts.of(frozenset([finding] * is_present), frozenset([finding] * (not is_present)))
    return agreement(facts_of(text), expected, {finding: is_present}).f1


@pytest.mark.parametrize("name, finding", CASES)
def test_a_sign_is_worth_more_than_its_negation_and_less_than_the_name(name, finding):
    seen, denied = OWN_WORDS[name]
    for is_present in (True, False):
        right, wrong = (seen, denied) if SIGNS[name].speaks_for == is_present else (denied, seen)
        named = f"There is {finding.lower()}." if is_present else f"There is no {finding.lower()}."
        assert grounding(named, finding, is_present) == 1
        assert 1 > grounding(right, finding, is_present) > grounding(wrong, finding, is_present) == 0
        assert grounding(f"{right} {named}", finding, is_present) == 1  # beside the name it changes nothing
        assert grounding(f"{wrong} {named}", finding, is_present) == 1


def test_every_wording_is_read_as_its_sign():
    words = load_signs().words
    for name, sign in SIGNS.items():
        for phrase in itertools.chain.from_iterable(expand(phrase, words) for phrase in sign.phrases):
            text = f"Here: {' '.join(phrase)}."
            assert (name, "present") in {mention[:2] for mention in mentions_of(text)}, text


@pytest.mark.parametrize("name", SIGNS)
def test_reports_and_labels_know_no_signs(name):
    for text in OWN_WORDS[name]:
        assert not any(is_sign(mention.finding) for mention in extract(text).mentions)
        for labels in ("nih", "chexpert", "cxr_lt", "all"):
            assert not any(map(is_sign, set().union(*extract(text).within(labels).values())))


@pytest.mark.parametrize(
    "text, hints",
    [
        ("A meniscus. Possible Kerley lines.", {Hint(("Effusion",), True, SURE)}),
        ("History of Kerley lines.", set()),
        (
            "No meniscus, Kerley lines or cortical break.",
            {
                Hint(("Effusion",), False, SUGGESTIVE),
                Hint(("Edema",), False, SUGGESTIVE),
                Hint(("Fracture",), False, SUGGESTIVE),
            },
        ),
        ("A meniscus. The costophrenic angles are sharp.", set()),  # they cancel each other
        ("A meniscus on the left. The right costophrenic angle is sharp.", {Hint(("Effusion",), True, SURE)}),
        ("A meniscus on the right. The right costophrenic angle is sharp.", set()),
        ("The hemithorax is hyperlucent.", {Hint(("Emphysema", "Pneumothorax"), True, SUGGESTIVE)}),
        ("It is hyperlucent, without pneumothorax.", {Hint(("Emphysema",), True, SUGGESTIVE)}),
        ("It is hyperlucent: a pneumothorax.", set()),  # the text says itself what the sign means
        (
            "It is hyperlucent. Lung markings reach the chest wall.",
            {
                Hint(("Emphysema",), True, SUGGESTIVE),
                Hint(("Pneumothorax",), False, SURE),
            },
        ),
        (
            "Kerley lines. Vascular redistribution.",
            {
                Hint(("Edema",), True, SURE),
                Hint(("Edema", "Vascular Congestion"), True, SUGGESTIVE),
            },
        ),
    ],
)
def test_what_signs_say_together(text, hints):
    assert set(facts_of(text).hints) == hints


def test_a_sign_of_several_findings_is_wrong_only_if_none_of_them_is_there():
    stated = facts_of("The hemithorax is hyperlucent.")
    effusion = facts_of("Effusion.")
    for emphysema, pneumothorax, contradict in [(True, False, 0), (False, False, SUGGESTIVE), (False, None, 0)]:
        truth = {"Emphysema": emphysema} | ({} if pneumothorax is None else {"Pneumothorax": pneumothorax})
        assert agreement(stated, effusion, truth).contradict == contradict


@st.composite
def films(draw):
    """What is known of a film, and which of it a think block should state."""
    truth = draw(st.dictionaries(st.sampled_from(FINDINGS), st.booleans(), min_size=1))
    asked = draw(st.sets(st.sampled_from(sorted(truth)), min_size=1))
    return truth, asked


def stating(findings, truth):
    return " ".join(f"There is {'' if truth[name] else 'no '}{name.lower()}." for name in sorted(findings))


@MANY
@given(films(), st.data())
def test_no_choice_of_signs_is_worth_more_than_naming_what_the_film_shows(film, data):
    truth, asked = film
    expected = facts_of(stating(asked, truth))
    named = agreement(facts_of(stating(asked, truth)), expected, truth).f1
    some = data.draw(st.lists(st.sampled_from(sorted(SIGNS)), max_size=12))
    text = " ".join(data.draw(st.sampled_from(OWN_WORDS[name])) for name in some)
    assert agreement(facts_of(text), expected, truth).f1 < named == 1


@MANY
@given(films(), st.data())
def test_all_signs_together_are_worth_no_more_than_the_right_ones(film, data):
    truth, asked = film
    expected = facts_of(stating(asked, truth))
    names = data.draw(st.permutations(sorted(SIGNS)))
    everything = " ".join(OWN_WORDS[name][0] for name in names)
    denied = " ".join(OWN_WORDS[name][1] for name in names)
    right = []
    for name in names:
        sign = SIGNS[name]
        values = {expected.says(finding) or truth.get(finding) for finding in sign.findings}
        if True in values:
            right.append(OWN_WORDS[name][not sign.speaks_for])
        elif False in values:
            right.append(OWN_WORDS[name][sign.speaks_for])
    honest = agreement(facts_of(" ".join(right)), expected, truth)
    assert honest.contradict == 0
    for text in (everything, denied, f"{everything} {denied}"):
        assert agreement(facts_of(text), expected, truth).f1 <= honest.f1 + 1e-9
