"""A report says the same however its lines are laid out."""

import re
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.findings.extract import extract
from rewards.findings.layout import paragraphs, sentences, unwrapped
from tests.support.rewards.finding_grammar import built_sentences
from tests.support.rewards.openi import open_i_sections

SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)")
WITHOUT_JOINTS = [built.text for built in built_sentences(300) if not set("\n-") & set(built.text)]


def split(text):
    return [sentence for sentence in SENTENCE_END.split(text) if sentence.strip()]


def wrapped(width):
    return lambda text: "\n".join(textwrap.wrap(text, width))


def upper_wrapped(width):
    return lambda text: "\n".join(textwrap.wrap(text.upper(), width))


def without_stops(text):
    return "\n".join(sentence.rstrip(" .") for sentence in split(text))


def bullets(text):
    return "\n".join(f"- {sentence.rstrip(' .')}" for sentence in split(text))


LAYOUTS = {
    "60 columns": wrapped(60),
    "72 columns": wrapped(72),
    "80 columns": wrapped(80),
    "upper case": str.upper,
    "upper case, 60 columns": upper_wrapped(60),
    "upper case, 80 columns": upper_wrapped(80),
    "no full stops": without_stops,
    "upper case, no full stops": lambda text: without_stops(text.upper()),
    "bullets": bullets,
    "numbers": lambda text: "\n".join(f"{n}. {sentence}" for n, sentence in enumerate(split(text), 1)),
    "bullets in one line": lambda text: " ".join(f"• {sentence}" for sentence in split(text)),
}


def meaning(text):
    found = extract(text)
    return found.present, found.absent, found.uncertain


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_real_report_says_the_same_in_any_layout(layout):
    reports = open_i_sections()
    if reports is None:
        pytest.skip("needs the reports in OPENI_WHEEL (docs/findings.md)")
    change = LAYOUTS[layout]
    same = sum(
        meaning(f"{findings}\n\n{impression}") == meaning(f"{change(findings)}\n\n{change(impression)}")
        for findings, impression in reports.values()
    )
    print(f"{same / len(reports):.4f}")
    assert same >= 0.995 * len(reports)


@given(st.lists(st.sampled_from(WITHOUT_JOINTS), min_size=1, max_size=5), st.integers(60, 90))
def test_wrapping_changes_nothing(texts, width):
    text = " ".join(texts)
    assert meaning(wrapped(width)(text)) == meaning(text)


@pytest.mark.parametrize(
    "text, whole",
    [
        ("There is no evidence of\nCHF, effusion or edema.", ["There is no evidence of CHF, effusion or edema", ""]),
        ("No pneumothorax\nCardiomegaly", ["No pneumothorax", "Cardiomegaly"]),
        ("no pneumothorax\nbilateral effusions", ["no pneumothorax", "bilateral effusions"]),
        ("The heart is normal\nThe lungs are clear", ["The heart is normal", "The lungs are clear"]),
        ("No effusion\n(or edema)", ["No effusion (or edema)"]),
        ("Atelectasis vs. pneumonia", ["Atelectasis vs. pneumonia"]),
        ("A 1.5 cm nodule. No mass", ["A 1.5 cm nodule", " No mass"]),
        ("Edema: no\nMass: yes", ["Edema: no", "Mass: yes"]),
        ("1.Edema.2.No mass", ["1", "Edema", "2", "No mass"]),
        ("Edema - no", ["Edema: no"]),
        ("No edema - mass seen", ["No edema", " mass seen"]),
        ("No edema – or effusion", ["No edema, or effusion"]),
    ],
)
def test_a_sentence_ends_where_it_was_meant_to(text, whole):
    assert sentences(text) == whole


@given(st.text(st.characters(max_codepoint=0x2030)))
def test_no_letter_is_lost(text):
    letters = [character for character in text if character.isalpha()]
    pieces = [sentence for paragraph in paragraphs(text) for sentence in sentences(paragraph)]
    left = "".join(pieces)
    assert set(letters) <= set(left) | set("abcdefghABCDEFGH")  # those may be the marks of a list
    assert all(len(piece) <= 1000 for piece in pieces)


@given(st.text(st.sampled_from("ab \n,.-•1)")))
def test_an_unwrapped_paragraph_stays_as_it_is(text):
    assert unwrapped(unwrapped(text)) == unwrapped(text)
