"""What no form of answer may do: read a wrong option as the right one, or an answer that hedges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.reading.choices.choice import read_choice

OPTIONS = {"A": "Mass", "B": "Edema", "C": "Pleural effusion", "D": "No finding"}
QUESTION = "Which finding is present?"
YES_NO = {"A": "Yes", "B": "No"}
FRAMES = (
    "{}", "({})", "{}.", "**{}**", "<b>{}</b>", "#### {}", "\\boxed{{{}}}", "\\fbox{{{}}}", "答案：{}。", "Answer: {}",
    "The correct answer is option {}.", "I would choose {}", "{} is correct", "Antwort: {}", "{}<|im_end|>", "\ufeff{}",
    "{}\n\nExplanation: see above.", "So the answer is {}.", "正解は{}です",
)  # fmt: skip
NAMES = ("{0}", "{0}) {1}", "{0}: {1}", "{1} ({0})")
DOUBTS = (
    "{0} or {1}", "{0}, or maybe {1}", "maybe {0}", "{0}?", "not {0}", "either {0} or {1}", "{0}\nActually, {1}",
    "{0}. Wait, it is {1}.", "{0}\nI am not sure.", "{0}, not {1}", "Answer: {0}. Answer: {1}.",
)  # fmt: skip
letter = st.sampled_from(sorted(OPTIONS))


def named(name, form):
    return form.format(name, OPTIONS[name])


@given(letter, st.sampled_from(NAMES), st.sampled_from(FRAMES))
def test_an_option_in_any_frame_is_itself(name, form, frame):
    assert read_choice(frame.format(named(name, form)), OPTIONS, QUESTION).value == (name,)


@given(letter, letter, st.sampled_from(NAMES), st.sampled_from(DOUBTS))
def test_an_answer_that_hedges_is_unread(name, other, form, doubt):
    if name != other:
        assert read_choice(doubt.format(named(name, form), named(other, form)), OPTIONS, QUESTION).value is None


@given(letter, letter, st.sampled_from(FRAMES))
def test_a_letter_with_another_options_text_is_unread(name, other, frame):
    if name != other:
        reading = read_choice(frame.format(f"{name}) {OPTIONS[other]}"), OPTIONS, QUESTION)
        assert reading.value is None and reading.why_unread


@given(st.permutations(sorted(OPTIONS)), st.sampled_from([", ", "\n", " ", "; ", " and "]), st.sampled_from(NAMES))
def test_the_whole_list_is_no_single_option(order, between, form):
    value = read_choice(between.join(named(name, form) for name in order), OPTIONS, QUESTION).value
    assert value is None or value == tuple(sorted(OPTIONS))


@pytest.mark.parametrize("answer", ["Yes and no", "Yes/No", "Yes, no", "A) Yes B) No", "yes or no", "A, B"])
def test_both_yes_and_no_is_neither(answer):
    assert read_choice(answer, YES_NO, "Is there a mass?").value is None


@pytest.mark.parametrize(
    "answer, reason",
    [
        ("", "empty"),
        ("\u200b<|im_end|>", "empty"),
        ("B" * 1001, "too long: '1001 characters'"),
        ("F", "names a letter that is no option: 'F'"),
        ("B or C", "hedges: 'or'"),
        ("B ✅❌", "contradicts itself: 'its marks'"),
        ("Hernia", "has words that fit no option: 'Hernia'"),
        ("B?", "asks a question: 'B?'"),
    ],
)
def test_an_unread_answer_is_told_why(answer, reason):
    assert read_choice(answer, OPTIONS, QUESTION).why_unread == reason


ATOMS = [
    *"ABCF",
    *"()[]{}.,:;?!\n\\*#",
    " ",
    "the answer is ",
    "or ",
    "no ",
    "yes",
    "Mass",
    "effusion",
    "✅",
    "❌",
    "因此",
    "<b>",
]


@given(st.text(max_size=60) | st.lists(st.sampled_from(ATOMS), max_size=30).map("".join))
def test_any_text_has_a_reading_or_a_reason(answer):
    for options in (OPTIONS, YES_NO):
        reading = read_choice(answer, options, "Is there a mass?")
        assert (reading.value is None) == bool(reading.why_unread)
        assert reading.value is None or (reading.value and set(reading.value) <= set(options))
