import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.findings.explain import _REASONS, explained, lines
from rewards.findings.extract import extract


def only(text):
    (explanation,) = explained(text)
    return explanation


def test_the_words_are_those_of_the_text():
    why = only("FINDINGS: The Heart, stable in shape, is ENLARGED.")
    assert (why.finding, why.status, why.words) == ("Cardiomegaly", "present", "Heart, stable in shape, is ENLARGED")
    assert why.cue == "" and why.scope.endswith("ENLARGED")


@pytest.mark.parametrize(
    "text, status, cue, cue_words, scope",
    [
        ("Clear lungs, no PTX.", "absent", "negation", "no", "no PTX"),
        ("No mass effect; edema cannot\nbe excluded.", "uncertain", "uncertain_after", "cannot be excluded", None),
        ("Previous edema has resolved.", "absent", "resolved", "resolved", "Previous edema has resolved"),
        ("No air in the mass.", "present", "within", "No", "No air in the mass"),
        ("History of edema.", "not counted", "history", "History of", "History of edema"),
        ("Indication: edema", "not counted", "", "", None),
    ],
)
def test_the_cue_its_words_and_its_scope_are_shown(text, status, cue, cue_words, scope):
    why = only(text)
    assert (why.status, why.cue, why.cue_words) == (status, cue, cue_words)
    assert scope is None or why.scope == scope
    assert why.reason in (*_REASONS.values(), "it stands in a section that says nothing of this film")


def test_lines_for_people():
    assert lines(only("Small left effusion.")) == [
        'present: Effusion (left, mild), from "effusion"',
        "    cue: none",
        '    scope: "Small left effusion"',
        "    reason: it is stated, and no cue governs it",
    ]


words = st.sampled_from(
    ["no", "edema", "mass", ",", "or", "but", "is", "normal", "heart", "possible", "?", ":", "\n", "İ", "history of"]
)


@given(st.text() | st.lists(words).map(" ".join))
def test_what_is_explained_is_what_is_extracted(text):
    counted = [(why.finding, why.status) for why in explained(text) if why.status != "not counted"]
    assert counted == [(mention.finding, mention.status) for mention in extract(text).mentions]
