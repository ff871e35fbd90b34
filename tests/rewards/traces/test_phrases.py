"""Every phrase says what it should to the extractor, and nothing that no film supports."""

from random import Random

import pytest

from rewards.findings.extract import mentions_of
from rewards.findings.mention import Mention
from rewards.traces.phrases import assertions_of, denials_of, filled, load_phrases, nouns_of, quality_of
from rewards.traces.talk import talk_in


def said(text):
    return {(mention.finding, mention.status) for mention in mentions_of(text)}


@pytest.mark.parametrize("finding", load_phrases().nouns)
def test_every_denial_denies_its_finding_alone(finding):
    phrases = load_phrases()
    for noun in nouns_of(finding):
        for pattern in (*phrases.denials, *phrases.own_denials.get(finding, ())):
            text = filled(pattern, finding, Random(0), noun=noun)
            assert said(text) == {(finding, "absent")} and not talk_in(text), text


@pytest.mark.parametrize("finding", load_phrases().nouns)
def test_every_assertion_asserts_its_finding_alone(finding):
    for noun in nouns_of(finding):
        for quality in ("", "small left basal", "bilateral"):
            for pattern in load_phrases().assertions:
                text = filled(pattern, finding, Random(0), quality, noun)
                assert said(text) == {(finding, "present")} and not talk_in(text), text


def test_what_stands_around_a_sentence_says_nothing_of_findings():
    phrases = load_phrases()
    for table in (
        *(phrases.leads, phrases.right_ends, phrases.wrong_ends, phrases.openings, phrases.sums_of_none),
        *(phrases.sums_of_letters, phrases.not_normal, phrases.normal, phrases.agreeing, phrases.unmatched),
        phrases.not_against,
    ):
        for pattern in table:
            text = filled(pattern.replace("{letters}", "B"), "Effusion", Random(0))
            assert not {pair for pair in said(text) if not pair[0].startswith("sign")} and not talk_in(text), text


def test_size_side_and_place_become_words():
    assert quality_of(Mention("Effusion", "present", "left", "mild", "basal")) == "small left basal"
    assert quality_of(Mention("Edema", "present", "", "severe", "upper")) == "severe upper zone"
    texts = assertions_of("Nodule", Mention("Nodule", "present", "right", "", ""), Random(1))
    assert len(set(texts)) == len(load_phrases().assertions) and all("right" in text for text in texts)


def test_the_draw_decides_the_order():
    assert denials_of("Mass", Random(1)) == denials_of("Mass", Random(1)) != denials_of("Mass", Random(2))
