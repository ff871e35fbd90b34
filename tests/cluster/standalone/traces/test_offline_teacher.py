"""A teacher in vLLM's own engines, on Ray Data."""

from random import Random

import pytest

from cluster.standalone.traces.offline_teacher import OfflineTeacher, _draft
from rewards.traces.report_writer import trace_of
from rewards.traces.teacher_config import TeacherConfig
from rewards.traces.teacher_writer import CUT_OFF, NO_TRACE
from rewards.traces.writer import Ask
from tests.support.rewards.reported import CHOICE, TASKS

TRACE = trace_of(CHOICE, Random(0))


@pytest.mark.parametrize(
    "answer, is_whole, texts, fault",
    [(f"So: {TRACE}", True, (TRACE,), ""), (TRACE, False, (), CUT_OFF), ("It is B.", True, (), NO_TRACE)],
)
def test_a_draft_is_the_trace_of_a_whole_answer(answer, is_whole, texts, fault):
    draft = _draft(Ask(CHOICE, 1), answer, is_whole)
    assert (draft.task_id, draft.attempt, draft.texts, draft.fault) == ("choice", 1, texts, fault)


@pytest.mark.slow
def test_a_tiny_model_answers_every_ask_and_the_same_at_the_same_seed(ray_session, tiny_model):
    config = {
        "model": str(tiny_model),
        "max_tokens": 12,
        "engines": {"gpus": 0, "batch": 4, "max_model_tokens": 512, "options": {"dtype": "float32"}},
    }
    asks = [Ask(task, attempt) for task in TASKS for attempt in (0, 1)]

    def drafts():
        teacher = OfflineTeacher(TeacherConfig.model_validate(config), "{{ question }}", 2, 0)
        return {(draft.task_id, draft.attempt): draft for draft in teacher.write(asks)}

    first = drafts()
    assert set(first) == {(ask.task.id, ask.attempt) for ask in asks}
    assert all(draft.fault in (CUT_OFF, NO_TRACE) for draft in first.values()) and drafts() == first
