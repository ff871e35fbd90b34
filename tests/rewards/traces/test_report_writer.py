"""Traces by rule, from reports."""

from random import Random

import pytest

from rewards.reading.parser import parse
from rewards.traces.blocks import UNKNOWN, NoTrace
from rewards.traces.phrases import load_phrases
from rewards.traces.report_writer import NO_CANDIDATES, PLAIN, ReportWriter, trace_of
from rewards.traces.verifier import VerifierConfig, verify
from rewards.traces.writer import Ask
from tests.support.rewards.reported import BINARY, CHOICE, HEALTHY, MATCHING, NAMES, SECTION, TASKS


def thinks(task, seed=0):
    return [pair.think for pair in parse(trace_of(task, Random(seed))).pairs]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_every_kind_of_task_gets_a_trace_that_verifies(task):
    for seed in range(20):
        text = trace_of(task, Random(seed))
        assert verify(task, text, VerifierConfig()).is_accepted, text


@pytest.mark.parametrize("task", [CHOICE, BINARY, HEALTHY, NAMES], ids=lambda task: task.id)
def test_traces_of_one_task_differ_with_the_seed(task):
    texts = {trace_of(task, Random(seed)) for seed in range(30)}
    assert len(texts) > 25


def test_a_think_block_is_the_reports_sentence_about_its_option():
    said = " ".join(" ".join(thinks(CHOICE, seed)) for seed in range(20))
    assert "There is a small left pleural effusion." in said and "The heart is mildly enlarged." in said
    assert "unchanged" not in said and "___" not in said and "recommend" not in said


def test_the_end_of_a_block_fits_its_mark():
    """The option No is right where the finding is absent: nothing may rule that option out."""
    for seed in range(60):
        first, second, _ = parse(trace_of(BINARY, Random(seed))).pairs
        assert "❌" in first.answer and "✅" in second.answer
        assert not any(end in first.think for end in load_phrases().right_ends)
        assert not any(end in second.think for end in load_phrases().wrong_ends)


def test_candidates_are_those_of_the_tasks_own_trace_or_what_the_report_denies():
    own = "<think>.</think><answer>Mass, Effusion, Cardiomegaly</answer>" + "".join(
        f"<think>.</think><answer>{name} {mark}</answer>"
        for name, mark in (("Mass", "❌"), ("Effusion", "✅"), ("Cardiomegaly", "✅"))
    )
    own += "<think>.</think><answer>Effusion, Cardiomegaly</answer>"
    judged = [pair.answer for pair in parse(trace_of(NAMES.model_copy(update={"reference": own}), Random(0))).pairs]
    assert judged[0] == "Mass, Effusion, Cardiomegaly"
    judged = [pair.answer for pair in parse(trace_of(NAMES, Random(0))).pairs]
    assert "Pneumothorax ❌" in judged and judged[-1] == "Cardiomegaly, Effusion"


def test_labels_alone_are_enough():
    task = CHOICE.model_copy(update={"report": ""})
    assert verify(task, trace_of(task, Random(0)), VerifierConfig()).is_accepted


@pytest.mark.parametrize(
    "task, reason",
    [
        (CHOICE.model_copy(update={"options": {"A": "PA", "B": "AP"}, "gold": ("A",)}), UNKNOWN),
        (NAMES.model_copy(update={"gold": ("left lung",)}), UNKNOWN),
        (NAMES.model_copy(update={"form": "boxes", "gold": ("[1, 2, 3, 4]",)}), NO_CANDIDATES),
        (SECTION.model_copy(update={"reference": "Effusion is seen."}), PLAIN),
        (SECTION.model_copy(update={"report": ""}), NO_CANDIDATES),
    ],
)
def test_what_it_cannot_write_has_a_reason(task, reason):
    with pytest.raises(NoTrace, match=reason):
        trace_of(task, Random(0))


def test_a_trace_depends_on_its_task_the_attempt_and_the_seed_only():
    asks = [Ask(task, attempt) for task in (CHOICE, MATCHING, NAMES) for attempt in (0, 1)]
    first = {(draft.task_id, draft.attempt): draft.texts for draft in ReportWriter(1, 3).write(asks)}
    second = {(draft.task_id, draft.attempt): draft.texts for draft in ReportWriter(1, 3).write(asks[::-1])}
    assert first == second and first["choice", 0] != first["choice", 1]
    assert first != {(draft.task_id, draft.attempt): draft.texts for draft in ReportWriter(2, 3).write(asks)}
