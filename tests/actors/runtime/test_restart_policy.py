"""How soon a worker that died is replaced."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime.restart_policy import Restarts


@given(st.lists(st.floats(0, 40), max_size=30), st.floats(0, 40))
def test_replacements_wait_longer_and_end(gaps, later):
    """Independent: deaths within the window are counted again for every question."""
    restarts = Restarts(limit=5, window_s=60, backoff_s=2, longest_s=16)
    now, deaths = 0.0, []
    for gap in gaps:
        now += gap
        deaths.append(now)
        restarts.died(now)
    now += later
    recent = [death for death in deaths if now - death <= 60]
    if len(recent) > 5:
        assert restarts.wait_s(now) is None
    else:
        wait = min(16, 2 ** len(recent)) if recent else 0
        assert restarts.wait_s(now) == pytest.approx(max(0.0, (recent[-1] + wait - now) if recent else 0.0), abs=1e-9)


def test_by_hand():
    restarts = Restarts(limit=3, window_s=100, backoff_s=1, longest_s=3)
    assert restarts.wait_s(0) == 0
    for now, wait in ((10, 1), (20, 2), (30, 3)):  # the third would be 4
        restarts.died(now)
        assert restarts.wait_s(now) == wait
    restarts.died(40)
    assert restarts.wait_s(40) is None
    assert restarts.wait_s(111) == 0  # the first death is out of the window, and the wait is over
