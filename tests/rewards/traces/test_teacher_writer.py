"""A teacher behind an endpoint that fails in every way."""

from random import Random

import pytest
from PIL import Image

from rewards.calls.chat import Refused
from rewards.traces.report_writer import trace_of
from rewards.traces.teacher_config import TeacherConfig
from rewards.traces.teacher_writer import NO_TRACE, TeacherWriter
from rewards.traces.writer import Ask
from tests.support.rewards.reported import CHOICE
from tests.support.rewards.simulated_teacher import PROMPT, SimulatedTeacher

TASKS = [CHOICE.model_copy(update={"id": f"t{number}"}) for number in range(12)]
TRACES = {task.id: trace_of(task, Random(task.id)) for task in TASKS}
ASKS = [Ask(task, 0) for task in TASKS]


def writer(endpoint, attempts=3, **settings):
    config = {"model": "m", "base_url": endpoint.url, "timeout_s": 1.0, "retries": 3} | settings
    return TeacherWriter(TeacherConfig.model_validate(config), PROMPT, attempts, 0)


def drafts(endpoint, asks=ASKS, **settings):
    return {draft.task_id: draft for draft in writer(endpoint, **settings).write(asks)}


def test_requests_go_out_together_and_each_ask_gets_its_own_answer():
    with SimulatedTeacher(TRACES, {}, latency_s=0.05) as endpoint:
        found = drafts(endpoint, concurrency=4)
        assert endpoint.most_at_once == 4
    assert {id: draft.texts[0] for id, draft in found.items()} == TRACES
    assert set(endpoint.paid.values()) == {1}


def test_what_was_not_answered_is_asked_again_and_paid_once():
    faults = {"t0": ["busy"], "t1": ["rate", "busy"], "t2": ["never"], "t3": ["rate", "rate"]}
    with SimulatedTeacher(TRACES, faults) as endpoint:
        found = drafts(endpoint)
    assert {id: draft.texts[0] for id, draft in found.items()} == TRACES
    assert set(endpoint.paid.values()) == {1} and endpoint.asked["t1", "0"] == 3


def test_a_bad_answer_uses_up_the_ask():
    with SimulatedTeacher(TRACES, {"t0": ["json"], "t1": ["cut"], "t2": ["prose"]}) as endpoint:
        found = drafts(endpoint)
    faults = {id: draft.fault for id, draft in found.items() if draft.fault}
    assert faults["t2"] == NO_TRACE and "cut off" in faults["t1"] and "no chat completion" in faults["t0"]
    assert len(faults) == 3 and all(found[id].is_answered for id in faults)
    assert set(endpoint.paid.values()) == {1}


def test_an_ask_without_any_answer_is_not_used_up():
    with SimulatedTeacher(TRACES, {"t0": ["busy"] * 9}) as endpoint:
        draft = drafts(endpoint, retries=1)["t0"]
    assert not draft.is_answered and "503" in draft.fault and endpoint.asked["t0", "0"] == 2


def test_a_wrong_key_ends_it_at_once():
    with SimulatedTeacher(TRACES, {task.id: ["refuse"] for task in TASKS}) as endpoint:
        with pytest.raises(Refused, match="answered 400"):
            drafts(endpoint, concurrency=1)
        assert endpoint.asked.total() == 10


def test_a_limit_of_requests_holds():
    with SimulatedTeacher(TRACES, {}) as endpoint:
        given = writer(endpoint, requests_per_minute=3).write(ASKS)
        assert len([next(given) for _ in range(3)]) == 3
        assert endpoint.asked.total() == 3
        given.close()


def test_after_a_stop_only_what_is_under_way_comes():
    with SimulatedTeacher(TRACES, {}, latency_s=0.2) as endpoint:
        teacher = writer(endpoint, concurrency=2)
        found = []
        for draft in teacher.write(ASKS):
            found.append(draft)
            teacher.stop()
        assert len(found) == endpoint.paid.total() < len(ASKS)


def test_films_go_along_and_the_key_is_no_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "open sesame")
    Image.new("L", (8, 8)).save(tmp_path / "film.png")
    there, gone = (
        task.model_copy(update={"images": (str(tmp_path / name),)})
        for task, name in zip(TASKS[:2], ("film.png", "gone.png"), strict=True)
    )
    with SimulatedTeacher(TRACES, {}) as endpoint:
        teacher = writer(endpoint, images=True, api_key_env="TEACHER_KEY", concurrency=1)
        found = list(teacher.write([Ask(there, 0), Ask(gone, 0)]))
    assert "sesame" not in str(teacher.settings) and endpoint.authorizations == {"Bearer open sesame"}
    film, text = endpoint.bodies[0]["messages"][-1]["content"]
    assert film["image_url"]["url"].startswith("data:image/jpeg;base64,") and text["text"] == "t0|0"
    assert found[1].is_final and "gone.png: no such image file" in found[1].fault and len(endpoint.bodies) == 1
