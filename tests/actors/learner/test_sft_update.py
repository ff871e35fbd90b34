"""An SFT step with fewer tasks than ranks. That gradients are right is tested in test_deepspeed_engine.py."""

import pytest

from actors.learner.sft_update import SftUpdate
from tests.support.learner.ranks import same


@pytest.mark.parametrize("zero_stage", [0, 2])
def test_a_rank_without_a_task_changes_nothing(one, two, phantom_tasks, zero_stage):
    order, rows, states = SftUpdate(phantom_tasks[:1], 1e-3), [], []
    for world in (one, two):
        world.make(zero_stage=zero_stage)
        rows.append(world.update(order))
        states.append(world.first("state"))
    assert rows[0]["tokens"] == rows[1]["tokens"] > 0
    for name in ("loss", "grad_norm"):
        assert rows[1][name] == pytest.approx(rows[0][name], rel=1e-6)
    assert states[0].keys() == states[1].keys()
    two.update(order)
    assert not same(two.first("state"), states[1])
