"""Rows at the limits of a token budget. Faults of whole task sets are tested with `curriculum.check`."""

import pytest

from actors.model.check_tokens import TokenBudget, check_tokens
from actors.model.encode import Encoder, PromptConfig
from curriculum.taskset import TaskRow


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder(tiny_model, PromptConfig())


@pytest.fixture
def task(phantom_tasks):
    return phantom_tasks[0]


@pytest.fixture
def lengths(encoder, task):
    """Tokens of the prompt and of the gold trace, end token included."""
    return len(encoder.expand(task)), len(encoder.response_ids(task.reference))


def checked(encoder, task, **budget):
    limits = dict(sequence=10**6, response=1, asked=frozenset(), taught=frozenset()) | budget
    row = TaskRow(1, task.id, task, [], ((112, 112),) * len(task.images))
    assert list(check_tokens([row], encoder, TokenBudget(**limits))) == [row]
    return row


def test_a_prompt_must_leave_room_for_a_whole_response(encoder, task, lengths):
    prompt, _ = lengths
    asked = frozenset({task.family})
    assert not checked(encoder, task, sequence=prompt + 9, response=9, asked=asked).faults
    (fault,) = checked(encoder, task, sequence=prompt + 8, response=9, asked=asked).faults
    assert fault.kind == "too long" and f"the prompt has {prompt} tokens" in fault.reason
    assert f"leaves {prompt - 1} beside a response of 9" in fault.reason


def test_a_trace_must_fit_into_a_sequence_and_of_asked_families_into_a_response(encoder, task, lengths):
    prompt, trace = lengths
    family = frozenset({task.family})
    assert not checked(encoder, task, sequence=prompt + trace, taught=family).faults
    (fault,) = checked(encoder, task, sequence=prompt + trace - 1, taught=family).faults
    assert f"prompt and trace have {prompt + trace} tokens" in fault.reason
    assert not checked(encoder, task, response=trace, taught=family, asked=family).faults
    (fault,) = checked(encoder, task, response=trace - 1, taught=family, asked=family).faults
    assert f"the trace has {trace} tokens; a response may have {trace - 1}" in fault.reason


def test_a_text_that_reads_as_a_special_token_is_a_fault_and_stops_the_count(encoder, task):
    row = checked(encoder, task.model_copy(update={"context": "see <|im_end|>"}))
    assert [(fault.kind, "context: holds '<|im_end|>'" in fault.reason) for fault in row.faults] == [
        ("special token", True)
    ]
    assert row.prompt_tokens is None


def test_an_image_that_the_processor_refuses_is_reported_once(encoder, task):
    row = TaskRow(1, task.id, task.model_copy(update={"images": task.images * 2}), [], ((2000, 3),) * 2)
    list(check_tokens([row], encoder, TokenBudget(10**6, 1, frozenset(), frozenset())))
    assert [fault.kind for fault in row.faults] == ["image"] and "2000 × 3 pixels" in row.faults[0].reason
