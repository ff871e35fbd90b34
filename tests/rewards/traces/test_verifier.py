"""What a trace must reach, whoever wrote it."""

import pytest

from rewards.traces.verifier import VerifierConfig, verify
from tests.support.rewards.reported import BINARY, CHOICE, NAMES, SECTION
from tests.support.rewards.responses import written

BLOCKS = {
    "A": ("There is a small left pleural effusion.", "A) ✅"),
    "B": ("No mass is seen.", "B) ❌"),
    "C": ("The heart is mildly enlarged.", "C) ✅"),
    "D": ("The heart is enlarged, so this film is not normal.", "D) ❌"),
    "": ("A and C are left.", "A, C"),
}


def reason(trace, task=CHOICE, **settings):
    return verify(task, trace, VerifierConfig(**settings)).reason


def changed(option, think=None, answer=None):
    blocks = dict(BLOCKS)
    blocks[option] = (think or blocks[option][0], answer or blocks[option][1])
    return written(*blocks.values())


def test_a_sound_trace_is_accepted():
    check = verify(CHOICE, written(*BLOCKS.values()), VerifierConfig())
    assert check.is_accepted and check.grounding == 1 and check.reward == pytest.approx(1.5)


@pytest.mark.parametrize(
    "trace, why",
    [
        ("So: " + written(*BLOCKS.values()), "format"),
        (changed("", answer="A"), "outcome"),
        (changed("B", answer="B) ✅"), "step"),
        (changed("B", answer="B)"), "step"),
        (written(*list(BLOCKS.values())[1:]), "coverage"),
        (changed("A", think="The costophrenic angles are sharp."), "grounding"),
        (changed("A", think="Something is there."), "grounding"),
        (changed("A", think="There is a small left pleural effusion, and a nodule."), "unsupported"),
        (changed("A", think="The report describes a small left pleural effusion."), "report"),
        (changed("A", think="A small left pleural effusion, larger than on the prior film."), "prior"),
        (changed("A", think="A small left pleural effusion, CT is recommended."), "advice"),
        (changed("A", think="A small left pleural effusion in this 64-year-old."), "identifier"),
        (changed("A", think="A small left XXXX pleural effusion."), "identifier"),
        (changed("A", think="A small left pleural effusion. " + "It is small. " * 200), "length"),
    ],
)
def test_what_is_rejected(trace, why):
    assert reason(trace) == why


def test_the_least_grounding_and_the_length_can_be_set():
    described = changed("A", think="The upper edge of the left fluid forms a meniscus.")
    assert reason(described) == "" or reason(described, grounding=1) == "grounding"
    assert reason(written(*BLOCKS.values()), max_words=10) == "length"
    with pytest.raises(ValueError, match="min_words 9 is above max_words 3"):
        VerifierConfig(min_words=9, max_words=3)


def test_an_answer_that_names_all_findings_may_leave_none_of_the_reports_out():
    report = "The heart is normal. Large hiatal hernia. No effusion."
    healthy = NAMES.model_copy(update={"gold": (), "report": report})
    trace = written(
        ("Worth a look.", "Cardiomegaly, Effusion"),
        ("The heart is normal.", "Cardiomegaly ❌"),
        ("No effusion is seen.", "Effusion ❌"),
        ("Neither of them holds.", "No finding"),
    )
    assert reason(trace, healthy) == "contradicted"
    assert reason(trace, healthy.model_copy(update={"report": report.replace("Large hiatal hernia. ", "")})) == ""


def test_an_earlier_film_may_be_spoken_of_if_the_task_has_one():
    trace = changed("A", think="A small left pleural effusion, larger than on the prior film.")
    assert reason(trace, CHOICE.model_copy(update={"images": ("prior.png", "film.png")})) == ""


def test_an_accepted_trace_does_not_rest_on_the_tasks_own_reference():
    """Judged against itself, any trace would be grounded."""
    trace = changed("A", think="Something is there.")
    assert reason(trace, CHOICE.model_copy(update={"reference": trace})) == "grounding"


def test_a_task_whose_reference_weighs_nothing_asks_for_no_steps():
    trace = written(("No pneumothorax is seen on either side.", "B"))
    assert reason(trace, BINARY) == "coverage"
    assert reason(trace, BINARY.model_copy(update={"reference": written(("In sum.", "B"))})) == ""


def test_names_and_texts():
    names = written(
        ("Worth a look.", "Cardiomegaly, Effusion, Pneumothorax"),
        ("The heart is mildly enlarged.", "Cardiomegaly ✅"),
        ("There is a small left effusion.", "Effusion ✅"),
        ("No pneumothorax is seen.", "Pneumothorax ❌"),
        ("Two are left.", "Cardiomegaly, Effusion"),
    )
    assert reason(names, NAMES) == ""
    assert reason(names.replace("Cardiomegaly, Effusion</answer>", "Cardiomegaly</answer>"), NAMES) == "outcome"
    text = written(("The heart is mildly enlarged, and there is an effusion.", SECTION.gold[0]))
    assert reason(text, SECTION) == ""
    prior = SECTION.model_copy(update={"gold": ("Stable cardiomegaly.",)})
    assert reason(written(("The heart is mildly enlarged on this film.", prior.gold[0])), prior) == "prior"


@pytest.mark.parametrize("text", ["", "<think>", "\ud800", "<think>x</think><answer>A</answer>" * 200])
def test_it_never_raises(text):
    assert reason(text)
