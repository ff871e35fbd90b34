import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.importers.nih import FINDINGS
from rewards.findings.extract import extract, mentions_of
from rewards.findings.facts import Facts, agreement, facts_of
from rewards.findings.ontology import expand, load_ontology
from rewards.findings.signs import SUGGESTIVE, SURE, Hint, is_sign, load_signs, with_ratios
from tests.support.rewards.transcripts import MANY

SIGNS = load_signs().signs
OWN_WORDS = {  # each sign as a think block has it, and denied
    "sign: meniscus": ("The upper edge of the shadow forms a meniscus.", "The shadow forms no meniscus."),
    "Blunted Costophrenic Angle": ("The left costophrenic angle is blunted.", "The costophrenic angle is not blunted."),
    "sign: sharp costophrenic angle": ("Both costophrenic angles are sharp.", "The costophrenic angle is not sharp."),
    "sign: layering": ("Density is layering along the back.", "Nothing is seen, without layering."),
    "sign: obscured diaphragm": ("The left hemidiaphragm is obscured.", "The hemidiaphragm is not obscured."),
    "sign: sharp diaphragm": ("The hemidiaphragms are well defined.", "The hemidiaphragm is not well defined."),
    "sign: white lung": ("There is a white-out of the left side.", "There is no white-out."),
    "sign: pleural rind": ("A pleural rind surrounds the lung.", "No pleural rind is seen."),
    "sign: pleural line": ("A thin visceral pleural line is visible.", "No visceral pleural line is visible."),
    "sign: absent lung markings": ("Lung markings are absent beyond it.", "There is no absence of lung markings."),
    "sign: markings to the chest wall": (
        "Lung markings extend all the way to the chest wall.",
        "Lung markings do not extend to the chest wall.",
    ),
    "sign: deep sulcus": ("There is a deep sulcus sign on the left.", "No deep sulcus sign."),
    "sign: shift away": ("The trachea is deviated to the left away from it.", "The trachea is not shifted away."),
    "sign: shift toward": ("The mediastinum is shifted toward that side.", "The trachea is not pulled toward it."),
    "sign: volume loss": ("There is volume loss in the right upper zone.", "There is no loss of volume."),
    "Elevated Diaphragm": ("The right hemidiaphragm is elevated.", "The hemidiaphragm is not elevated."),
    "sign: displaced fissure": ("The minor fissure is displaced upward.", "The minor fissure is not displaced."),
    "sign: crowded vessels": ("The vessels show crowding.", "There is no crowding of vessels."),
    "sign: plate-like band": ("There is a plate-like shadow at the base.", "No plate-like shadow."),
    "sign: air bronchogram": ("Air bronchograms run through the shadow.", "There are no air bronchograms."),
    "sign: silhouette sign": ("There is loss of the right heart border.", "There is no silhouette sign."),
    "sign: spine sign": ("The lateral view has a spine sign.", "There is no spine sign."),
    "sign: clear lungs": ("Both lungs are clear.", "The lungs are not clear."),
    "sign: Kerley lines": ("Kerley B lines are present at the bases.", "No Kerley lines."),
    "sign: bat wings": ("The shadows have a bat-wing pattern.", "There is no bat-wing pattern."),
    "sign: upper lobe diversion": ("There is upper lobe blood diversion.", "There is no vascular redistribution."),
    "Vascular Congestion": ("There is pulmonary vascular congestion.", "No pulmonary vascular congestion."),
    "Airway Wall Thickening": ("Peribronchial cuffing is present.", "There is no peribronchial cuffing."),
    "sign: indistinct vessels": ("The vessels are indistinct.", "The vessels are not indistinct."),
    "sign: heart over half the chest": ("The cardiothoracic ratio is about 0.58.", "The CTR does not exceed 0.5."),
    "sign: heart under half the chest": ("The cardiothoracic ratio is 45%.", "The CTR is not below half."),
    "sign: double density": ("A double density is seen behind the heart.", "There is no double density."),
    "sign: water bottle heart": ("The heart has a water-bottle shape.", "There is no water-bottle shape."),
    "sign: lost aortic knob": ("The aortic knob is obscured.", "The aortic knob is not obscured."),
    "sign: gas behind the heart": ("There is a retrocardiac gas bubble.", "There is no retrocardiac gas bubble."),
    "sign: air-fluid level": ("There is an air-fluid level.", "No air-fluid level."),
    "sign: continuous diaphragm": ("There is a continuous diaphragm sign.", "There is no continuous diaphragm sign."),
    "sign: hyperlucency": ("The left side is hyperlucent.", "The left side is not hyperlucent."),
    "Hyperinflation": ("The diaphragms are flattened.", "The diaphragms are not flattened."),
    "Bulla": ("Bullae fill the apex.", "There are no bullae."),
    "sign: deep retrosternal space": ("The retrosternal space is widened.", "The retrosternal space is not widened."),
    "sign: thin vessels": ("There is paucity of vascular markings.", "There is no pruning of vessels."),
    "sign: honeycomb": ("A honeycomb pattern is seen at the bases.", "There is no honeycomb pattern."),
    "sign: distorted architecture": ("There is architectural distortion.", "There is no architectural distortion."),
    "sign: tram tracks": ("Tram tracks are seen at the right base.", "There are no tram tracks."),
    "sign: round shadow": ("There is a round shadow in the right lung.", "There is no round shadow."),
    "sign: spiculation": ("Its edge is spiculated.", "Its edge is not spiculated."),
    "sign: cortical break": ("There is a cortical break in the fifth rib.", "There is no cortical break."),
    "sign: intact bones": ("The bony thorax is intact.", "The bony thorax is not intact."),
    "sign: air under the diaphragm": ("A lucent crescent under the diaphragm.", "There is no subdiaphragmatic gas."),
    "sign: gas in the soft tissues": ("Gas in the soft tissues of the neck.", "No gas in the soft tissues."),
    "sign: Hampton hump": ("There is a Hampton hump.", "There is no Hampton hump."),
}
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


@pytest.mark.parametrize(
    "text, word",
    [
        ("The cardiothoracic ratio is 0.62.", "above"),
        ("Cardio-thoracic ratio of approximately 55%", "above"),
        ("CTR > 0.5", "above"),
        ("CTR is greater than 50 %", "above"),
        ("The cardiothoracic ratio exceeds one-half", "above"),
        ("The heart occupies more than half of the chest", "above"),
        ("the cardiac width is greater than 50% of the thoracic diameter", "above"),
        ("CTR 0.45", "below"),
        ("CTR ≤ 0.5", "below"),
        ("the cardiothoracic ratio is less than 0.5", "below"),
        ("The heart takes up less than half of the width", "below"),
        ("the cardiothoracic ratio is 0.5", None),
        ("The heart is 55 mm wide", None),
        ("the ratio is unknown. 0.62 mg", None),
        ("half of the film", None),
    ],
)
def test_ratios_of_heart_to_chest(text, word):
    assert [found for found in ("above", "below") if f"ratio{found}half" in with_ratios(text)] == (
        [word] if word else []
    )


@MANY
@given(st.text(alphabet="CTR ratioheart0.5>%\n<İß", max_size=300))
def test_ratios_add_words_and_change_none(text):
    added = with_ratios(text)
    for word in (" ratioabovehalf ", " ratiobelowhalf "):
        added = added.replace(word, "")
    assert added == text
