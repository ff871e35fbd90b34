"""Collapse guards on made-up rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.config.guards import DEFAULT, MEASURES, Guard, Guards


def test_a_guard_raises_one_alarm_when_enough_steps_in_a_row_were_bad():
    guards = Guards([Guard(measure="format", below=0.5, steps=3, then="roll_back")])
    values = [0.4, 0.4, 0.9, 0.4, 0.4, 0.4, 0.4]
    alarms = [guards.look(step, {"format": value}) for step, value in enumerate(values, 1)]
    assert [len(a) for a in alarms] == [0, 0, 0, 0, 0, 1, 0]
    (alarm,) = alarms[5]
    assert (alarm.action, alarm.began) == ("roll_back", 4) and "format 0.4 is below 0.5, 3 steps" in alarm.why
    assert guards.alarmed
    guards.look(8, {"format": 0.9})
    assert not guards.alarmed


def test_steps_without_the_number_are_no_reason_for_alarm():
    guards = Guards(DEFAULT)
    assert not any(guards.look(step, {"loss": 1.0}) for step in range(20)) and not guards.alarmed


@given(st.lists(st.floats(0, 1), max_size=60), st.integers(1, 6))
def test_alarms_are_the_runs_of_bad_steps_that_are_long_enough(values, steps):
    guards = Guards([Guard(measure="truncated", above=0.5, steps=steps)])
    began = [alarm.began for step, value in enumerate(values) for alarm in guards.look(step, {"truncated": value})]
    bad = "".join("x" if value > 0.5 else "." for value in values)
    starts = [i for i in range(len(bad)) if bad[i : i + steps] == "x" * steps and (i == 0 or bad[i - 1] == ".")]
    assert began == starts


@pytest.mark.parametrize("limits", [{}, {"above": 1, "below": 0}])
def test_a_guard_has_one_limit(limits):
    with pytest.raises(ValueError, match="exactly one of above and below"):
        Guard(measure="kl", **limits)


def test_a_measure_from_outside_is_one_entry(monkeypatch):
    with pytest.raises(ValueError, match="Input should be 'flat_groups', 'entropy'"):
        Guard(measure="staleness", above=2)
    monkeypatch.setitem(MEASURES, "staleness", "mean age of the tokens, in updates")
    guards = Guards([Guard(measure="staleness", above=2, steps=2, then="pause")])
    assert guards.look(7, {"staleness": 2.5}) == []
    [alarm] = guards.look(8, {"staleness": 3.0})
    assert (alarm.action, alarm.began, alarm.why) == ("pause", 7, "staleness 3 is above 2, 2 steps in a row")
