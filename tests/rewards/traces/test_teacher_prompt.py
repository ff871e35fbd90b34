"""What a teacher is asked, and the trace in its answer."""

import pytest

from rewards.traces.teacher_prompt import TeacherPrompt, default_template, trace_in
from rewards.traces.writer import Ask
from tests.support.rewards.reported import CHOICE, NAMES, SECTION


def test_the_prompt_has_the_question_the_answer_and_the_report():
    prompt = TeacherPrompt(default_template())
    text = prompt.fill(Ask(CHOICE, 0))
    assert (
        "Which findings are seen?" in text and "B) Mass" in text and "right letters alone as its answer: A, C" in text
    )
    assert "small left pleural effusion" in text and "An earlier try" not in text
    assert "An earlier try" in prompt.fill(Ask(CHOICE, 1))
    assert "Cardiomegaly, Effusion" in prompt.fill(Ask(NAMES, 0)) and SECTION.gold[0] in prompt.fill(Ask(SECTION, 0))
    assert "The report" not in prompt.fill(Ask(CHOICE.model_copy(update={"report": ""}), 0))


@pytest.mark.parametrize(
    "source, reason", [("{{ rport }}", "no such name as rport; it may use task"), ("{% if %}", "no jinja2 template")]
)
def test_a_template_that_cannot_be_used(source, reason):
    with pytest.raises(ValueError, match=reason):
        TeacherPrompt(source)


@pytest.mark.parametrize(
    "answer, trace",
    [
        ("<think>a</think><answer>B</answer>", "<think>a</think><answer>B</answer>"),
        ("Sure:\n```\n<think>a</think>\n<answer>B</answer>\n```", "<think>a</think>\n<answer>B</answer>"),
        ("It is B.", ""),
        ("<think>a</think>", ""),
    ],
)
def test_what_stands_around_a_trace_is_left_out(answer, trace):
    assert trace_in(answer) == trace
