"""Seconds by phase, and the total over sessions."""

import json
import time

import pytest

from cluster.record.timeline import Timeline
from cluster.run.progress.phases import PhaseClock
from cluster.run.progress.position import Position


@pytest.fixture
def clock(tmp_path):
    timeline = Timeline(tmp_path)
    yield PhaseClock(timeline, Position(step=7))
    timeline.close()


def test_phases_add_up_and_are_drawn(clock, tmp_path):
    for _ in range(2):
        with clock.phase("generate"):
            time.sleep(0.02)
    assert 0.04 <= clock.seconds["generate"] <= clock.total()
    clock.timeline.flush()
    lines = (tmp_path / "timeline.json").read_text().splitlines()[1:]
    drawn = [json.loads(line.rstrip(",")) for line in lines]
    assert [event["args"] for event in drawn if event["name"] == "generate"] == [{"step": 7}, {"step": 7}]


def test_a_phase_within_a_phase_ends_in_the_outer_one(clock):
    with clock.phase("evaluate"):
        with clock.phase("publish"):
            assert clock.current == "publish"
        assert clock.current == "evaluate"
    assert clock.current == ""
    assert clock.seconds["publish"] <= clock.seconds["evaluate"]


def test_a_phase_that_fails_counts_as_well(clock):
    with pytest.raises(KeyError), clock.phase("learn"):
        raise KeyError
    assert "learn" in clock.seconds and clock.current == ""


def test_a_resumed_run_goes_on_from_the_seconds_of_its_commit(clock):
    clock.restart({"learn": 90.0}, 100.0)
    assert 100 <= clock.total() < 101
    assert clock.seconds == {"learn": 90.0}
