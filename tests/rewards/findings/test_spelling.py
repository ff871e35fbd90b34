import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.findings.ontology import load_ontology
from rewards.findings.spelling import corrected


@pytest.mark.parametrize(
    "written, meant",
    [
        ("pneumothorx", "pneumothorax"),
        ("pneumothoraxx", "pneumothorax"),
        ("pneumothroax", "pneumothorax"),
        ("pneumothorqx", "pneumothorax"),
        ("neumothorax", "pneumothorax"),
        ("efusion", "effusion"),
        ("effusoins", "effusion"),
        ("nodlue", "nodule"),
        ("hernai", "hernia"),
    ],
)
def test_one_wrong_letter_is_mended(written, meant):
    assert corrected(written) == meant


@pytest.mark.parametrize(
    "word",
    [
        *["mask", "module", "hemithorax", "infusion", "perfusion", "diffusion", "confusion", "trachea", "parenchyma"],
        *["typical", "medial", "injection", "largest", "lobulated", "packing", "processed", "pneumotorx", "messes"],
    ],
)
def test_other_words_stay_as_they_are(word):
    assert corrected(word) == word


@given(st.sampled_from(sorted(load_ontology().core_words)))
def test_a_right_word_is_never_another(word):
    base = load_ontology().base_words
    assert base.get(corrected(word), corrected(word)) == base.get(word, word)


@given(st.text())
def test_any_text_can_be_given(word):
    assert corrected(word) == word or corrected(word) in load_ontology().core_words | set(
        load_ontology().base_words.values()
    )
