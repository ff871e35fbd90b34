"""What a radiologist means by a phrase; the sentences are made up."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.importers.labels import nih
from rewards.findings.extract import extract
from rewards.findings.ontology import load_ontology
from rewards.findings.phrases import _WORD, words_of
from tests.support.rewards.openi import GOLD, open_i_sections


def said(text):
    """Present, absent and uncertain, each as "A, B" in order of the alphabet."""
    found = extract(text)
    return tuple(", ".join(sorted(names)) for names in (found.present, found.absent, found.uncertain))


@pytest.mark.parametrize(
    "text, present",
    [
        ("There is a small left pleural effusion.", "Effusion"),
        ("Pleural fluid is present on the right", "Effusion"),
        ("bilateral effusions", "Effusion"),
        ("The cardiac silhouette is enlarged.", "Cardiomegaly"),
        ("Enlarged cardiac silhouette.", "Cardiomegaly"),
        ("Heart size is mildly enlarged.", "Cardiomegaly"),
        ("There is moderate enlargement of the heart", "Cardiomegaly"),
        ("Heart size is at the upper limits of normal or mildly enlarged.", "Cardiomegaly"),
        ("Borderline heart size.", "Cardiomegaly"),
        ("Pulmonary oedema with tiny effusions.", "Edema, Effusion"),
        ("A 3 cm tumour-like mass and several nodules", "Mass, Nodule"),
        ("Biapical pleural thickening.", "Pleural Thickening"),
        ("The pleura is thickened on the left.", "Pleural Thickening"),
        ("Collapse of the left lower lobe", "Atelectasis"),
        ("Stable left upper lobe collapse.", "Atelectasis"),
        ("Bibasilar atelectases; large hiatal hernia.", "Atelectasis, Hernia"),
        ("Large hydropneumothorax.", "Effusion, Pneumothorax"),
        ("The effusion is unchanged.", "Effusion"),
        ("No significant change in the right effusion.", "Effusion"),
        ("No change of the infiltrate.", "Infiltration"),
        ("The effusion has nearly resolved.", "Effusion"),
        ("Opacity most likely representing atelectasis.", "Atelectasis"),
        ("Findings consistent with pneumonia.", "Pneumonia"),
        ("Probable atelectasis.", "Atelectasis"),
        ("Air-space consolidation measuring 1.5 cm. Emphysema.", "Consolidation, Emphysema"),
        ("Findings: Emphysema.\nImpression:\nfibrosis", "Emphysema, Fibrosis"),
        ("pneumothoraces, both sides", "Pneumothorax"),
        ("Non-calcified nodule", "Nodule"),
    ],
)
def test_asserted(text, present):
    assert said(text) == (present, "", "")


@pytest.mark.parametrize(
    "text, absent",
    [
        ("No pleural effusions.", "Effusion"),
        ("No focal consolidation, pleural effusion, or pneumothorax.", "Consolidation, Effusion, Pneumothorax"),
        ("There is no evidence of pneumonia or edema", "Edema, Pneumonia"),
        ("Lungs are clear without infiltrate or nodule.", "Infiltration, Nodule"),
        ("Negative for pneumothorax and effusion", "Effusion, Pneumothorax"),
        ("The lungs are free of consolidation.", "Consolidation"),
        ("Effusion and pneumothorax are not seen.", "Effusion, Pneumothorax"),
        ("The effusion has resolved.", "Effusion"),
        ("The previously noted right effusion has completely resolved.", "Effusion"),
        ("Interval resolution of the edema.", "Edema"),
        ("Pneumothorax is no longer seen", "Pneumothorax"),
        ("Edema: none.", "Edema"),
        ("Edema: absent", "Edema"),
        ("Pneumonia is unlikely.", "Pneumonia"),
        ("Pneumothorax has been excluded.", "Pneumothorax"),
        ("Neither effusion nor pneumothorax", "Effusion, Pneumothorax"),
        ("Heart size is normal.", "Cardiomegaly"),
        ("The heart is not enlarged.", "Cardiomegaly"),
        ("The heart is not significantly enlarged.", "Cardiomegaly"),
        ("Cardiomediastinal silhouette is within normal limits", "Cardiomegaly"),
        ("Heart is at the upper limits of normal", "Cardiomegaly"),
        ("No definite pneumothorax seen", "Pneumothorax"),
        ("No opacity to suggest pneumonia", "Pneumonia"),
        ("No findings suspicious for a mass.", "Mass"),
        ("No large effusion is identified", "Effusion"),
        ("There isn’t any effusion", "Effusion"),
        ("No other nodules", "Nodule"),
    ],
)
def test_denied(text, absent):
    assert said(text) == ("", absent, "")


@pytest.mark.parametrize(
    "text, uncertain",
    [
        ("Cannot exclude pneumonia.", "Pneumonia"),
        ("Pneumonia cannot be excluded", "Pneumonia"),
        ("Cardiomegaly cannot be assessed.", "Cardiomegaly"),
        ("Pneumonia is not excluded.", "Pneumonia"),
        ("Possible small effusion", "Effusion"),
        ("The opacity may represent atelectasis or pneumonia.", "Atelectasis, Pneumonia"),
        ("Opacity which could be secondary to atelectasis", "Atelectasis"),
        ("Question of a nodule", "Nodule"),
        ("Suspected pneumothorax", "Pneumothorax"),
        ("Small effusion suspected.", "Effusion"),
        ("Findings concerning for edema", "Edema"),
        ("Pneumonia?", "Pneumonia"),
        ("Atelectasis versus pneumonia.", "Atelectasis, Pneumonia"),
        ("Atelectasis vs. infiltrate", "Atelectasis, Infiltration"),
        ("Opacity, differential diagnosis includes atelectasis, pneumonia, mass.", "Atelectasis, Mass, Pneumonia"),
        ("Heart may be enlarged", "Cardiomegaly"),
    ],
)
def test_left_open(text, uncertain):
    assert said(text) == ("", "", uncertain)


@pytest.mark.parametrize(
    "text",
    [
        "History of pneumonia.",
        "Evaluate for pneumothorax",
        "Rule out effusion.",
        "r/o pneumonia",
        "status post resection of mass",
        "Recommend CT to exclude a mass.",
        "Indication: pneumonia. Cough, effusion",
        "COMPARISON: film with effusion.",
        "Effusion of the knee.",
        "There is mass effect on the trachea.",
        "Subcutaneous emphysema",
        "cystic fibrosis",
        "pericardial effusion",
        "Peribronchial thickening",
        "pedal edema",
        "inguinal hernia",
        "",
        "The lungs are clear.",
        "left arm line in place",
        "Large aorta",
        "massive",
        "Massachusetts",
        "Nodular opacity at the base",
        "Blunting of the costophrenic angle.",
    ],
)
def test_not_a_finding_of_the_film(text):
    assert said(text) == ("", "", "")


@pytest.mark.parametrize(
    "text, present, absent, uncertain",
    [
        ("No effusion, but the heart is enlarged.", "Cardiomegaly", "Effusion", ""),
        ("No pneumothorax, the heart is enlarged", "Cardiomegaly", "Pneumothorax", ""),
        ("No pneumothorax and the left effusion is stable.", "Effusion", "Pneumothorax", ""),
        ("No pneumothorax, stable effusion.", "Effusion", "Pneumothorax", ""),
        ("Cardiomegaly without edema", "Cardiomegaly", "Edema", ""),
        ("Effusion is seen; no pneumothorax", "Effusion", "Pneumothorax", ""),
        ("Atelectasis rather than pneumonia", "Atelectasis", "Pneumonia", ""),
        ("No acute disease other than mild cardiomegaly", "Cardiomegaly", "", ""),
        ("Aside from atelectasis, no consolidation", "Atelectasis", "Consolidation", ""),
        ("No effusion. Possible edema", "", "Effusion", "Edema"),
        ("No effusion, possible nodule.", "", "Effusion", "Nodule"),
        ("No consolidation although small effusions are present", "Effusion", "Consolidation", ""),
        ("Heart size normal, large effusion", "Effusion", "Cardiomegaly", ""),
        ("No effusion.\nSmall effusion on the left.", "Effusion", "", ""),  # the surer of two statements counts
        ("No effusion. Effusion cannot be excluded", "", "", "Effusion"),
        ("INDICATION: r/o pneumonia\nFINDINGS: No infiltrate.\nIMPRESSION: Edema", "Edema", "Infiltration", ""),
        ("Indication: effusion\n\nEdema is seen", "Edema", "", ""),
        ("There is atelectasis without\npneumothorax.", "Atelectasis", "Pneumothorax", ""),
        ("Atelectasis\nNo edema\nMass", "Atelectasis, Mass", "Edema", ""),
    ],
)
def test_scope(text, present, absent, uncertain):
    assert said(text) == (present, absent, uncertain)


@pytest.mark.parametrize(
    "text, side",
    [
        ("Left pleural effusion", "left"),
        ("Effusion on the right", "right"),
        ("Bibasilar effusions", "bilateral"),
        ("Effusion.", ""),
        ("The heart is normal. Effusion, on the left side", "left"),
        ("Left pneumothorax, small effusion", ""),
        ("Effusion and right pneumothorax", ""),
        ("In the left base, there is an effusion", "left"),
    ],
)
def test_side(text, side):
    (mention,) = [mention for mention in extract(text).mentions if mention.finding == "Effusion"]
    assert mention.side == side


def test_a_kind_counts_as_what_it_is_a_kind_of_but_its_denial_does_not():
    found = extract("Right lower lobe atelectasis. Enlarged heart. No hydropneumothorax.")
    assert found.within("all")["present"] == {
        "Lobar Atelectasis",
        "Atelectasis",
        "Lung Opacity",
        "Cardiomegaly",
        "Enlarged Cardiomediastinum",
    }
    assert found.within("chexpert")["present"] == {
        "Atelectasis",
        "Lung Opacity",
        "Cardiomegaly",
        "Enlarged Cardiomediastinum",
    }
    assert found.within("cxr_lt")["absent"] == {"Hydropneumothorax"} and not found.absent


def test_label_sets_are_whole():
    findings = load_ontology().findings.values()
    assert {f.nih for f in findings} - {None} == set(nih.FINDINGS)
    assert len({f.chexpert for f in findings} - {None}) == 13  # and No Finding
    assert len({f.cxr_lt for f in findings} - {None}) == 44  # and Normal


@pytest.mark.parametrize("name", sorted(load_ontology().findings))
def test_every_name_and_synonym_is_understood_and_can_be_denied(name):
    finding = load_ontology().findings[name]
    for written in (name, *finding.synonyms):
        assert name in extract(f"{written.capitalize()}.").within("all")["present"], written
        assert name in extract(f"There is no {written}.").within("all")["absent"], written


vocabulary = st.sampled_from(
    [
        *["no", "not", "may", "possible", "effusion", "edema", "heart", "enlarged", "or", "and", ",", ".", "but"],
        *[";", ":", "?", "\n", "left", "both", "versus", "is", "normal", "seen"],
        "history of",
        "indication :",
        "cannot be excluded",
        "has resolved",
        "\n\n",
    ]
)


@given(st.text() | st.lists(vocabulary).map(" ".join))
def test_any_text_has_disjoint_sets(text):
    found = extract(text)
    assert (
        not found.present & found.absent and not found.present & found.uncertain and not found.absent & found.uncertain
    )
    assert found == extract(text) and found.present <= set(nih.FINDINGS)


@given(st.lists(vocabulary, max_size=8).map(" ".join), st.lists(vocabulary, max_size=8).map(" ".join))
def test_paragraphs_are_read_apart(first, second):
    assert extract(f"{first}\n\n{second}").mentions == extract(first).mentions + extract(second).mentions


def test_a_very_long_text_is_read_to_its_end():
    for filler in ("effusion ", "no ", "is ", ", ", "may not be entirely ", "?", "\n "):
        assert extract(filler * 20_000 + ".\n\nMass.").present >= {"Mass"}


def test_open_i_gold():
    """Reports of Open-I against NegBio's hand-checked labels; see docs/findings.md."""
    reports = open_i_sections()
    if not GOLD.exists() or reports is None:
        pytest.skip("needs the gold labels beside the repository and, in OPENI_WHEEL, the reports (docs/findings.md)")
    right = named = gold = 0
    with GOLD.open() as file:
        for row in csv.DictReader(file):
            truth = {name for name in nih.FINDINGS if row[name.replace(" ", "_")] == "1"}
            found = extract("\n\n".join(reports[row["filename"]])).present
            right, named, gold = right + len(found & truth), named + len(found), gold + len(truth)
    precision, recall, f1 = right / named, right / gold, 2 * right / (named + gold)
    print(f"precision {precision:.3f} recall {recall:.3f} micro-F1 {f1:.3f}")
    assert precision >= 0.87 and recall >= 0.87 and f1 >= 0.917


@given(
    st.text(st.characters(max_codepoint=300))
    | st.lists(
        st.sampled_from(
            ["mass", " ", "1.5", "12:30", ",", "(", ")", ":", "?", "/", "w/o", "don't", "-", "_", "é", "\n", "3:"]
        )
    ).map("".join)
)
def test_the_quick_way_finds_the_same_words(sentence):
    assert words_of(sentence) == _WORD.findall(sentence)
