"""Runs that no process holds, and an interrupt that gets lost. Requests to a run in progress: tests/end_to_end."""

import asyncio
import json
import os
import signal
import socket
import time

import pytest

from cluster.control.run_actor import Control, ControlRequest, RunActor, read_status, send_request
from cluster.control.run_address import find_address, write_address
from cluster.errors import UserError
from cluster.signals import heed


@pytest.fixture
def run(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x")
    return tmp_path


def summary(run, **values):
    (run / "summary.json").write_text(json.dumps({"steps": 7, "version": 9, "ledger": {}, **values}))


def test_a_run_that_is_over_is_told_from_its_summary(run):
    summary(run, status="finished")
    assert read_status(run) == {"run": run.name, "status": "finished", "steps": 7, "version": 9, "ledger": {}}
    summary(run, status="failed", why="the learner stopped")
    assert read_status(run)["why"] == "the learner stopped"


def test_a_run_whose_process_died_is_not_called_running(run):
    summary(run, status="running")
    with socket.create_server(("127.0.0.1", 0)) as server:
        write_address(run, f"127.0.0.1:{server.getsockname()[1]}")
    assert find_address(run) is None and read_status(run)["status"] == "gone: its process died"


def test_only_a_run_that_goes_on_can_be_asked(run, tmp_path):
    summary(run, status="finished")
    with pytest.raises(UserError, match="is not in progress; it is finished"):
        send_request(run, ControlRequest("stop"))
    with pytest.raises(UserError, match="no run folder"):
        read_status(tmp_path / "nothing")


def test_a_run_that_is_profiled_takes_no_second_request_to_profile_it():
    async def ask():
        actor = RunActor()
        assert await actor.add_request(ControlRequest("profile", steps=3)) is None
        assert "3 steps are being profiled already" in await actor.add_request(ControlRequest("profile", steps=2))
        assert await actor.add_request(ControlRequest("pause")) is None
        taken = await actor.sync({"profiled_steps_left": 1})
        assert [(request.action, request.steps) for request in taken] == [("profile", 3), ("pause", 0)]
        assert "1 steps are" in await actor.add_request(ControlRequest("profile", steps=2))
        await actor.sync({})
        assert await actor.add_request(ControlRequest("profile", steps=2)) is None

    asyncio.run(ask())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_falls_into_a_destructor_is_not_lost(ray_session, run):
    class Library:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    with heed(), Control(run) as control:
        assert control.sync({}) == []
        Library()  # Python tells of the interrupt on standard error, and drops it
        with pytest.raises(KeyboardInterrupt):
            control.sync({})
