"""An SFT step with fewer tasks than ranks, and one on sampled responses. That gradients are right is tested in
test_deepspeed_engine.py.
"""

import pytest

from actors.learner.sft_update import RftUpdate, SftUpdate
from actors.model.encode import Encoder, PromptConfig
from actors.trajectory import Sample
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


def test_references_that_were_sampled_and_accepted_teach_the_same(one, two, tiny_model, phantom_tasks):
    """Also with fewer responses than ranks."""
    encoder, tasks = Encoder(tiny_model, PromptConfig()), phantom_tasks[:3]
    samples = [Sample(encoder.expand(t), t.images, encoder.response_ids(t.reference)) for t in tasks]
    rows, states = [], []
    for order in (SftUpdate(tasks, 1e-3), RftUpdate(samples, 1e-3)):
        one.make()
        rows.append(one.update(order))
        states.append(one.first("state"))
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-6)
    for name, value in states[
        0
    ].items():  # AdamW's first step is a sign: rounding decides it where there is no gradient
        assert (abs(value - states[1][name]) > 1e-5).mean() < 1e-3, name
    two.make(zero_stage=2)
    alone = two.update(RftUpdate(samples[:1], 1e-3))
    one.make()
    assert alone["loss"] == pytest.approx(one.update(RftUpdate(samples[:1], 1e-3))["loss"], rel=1e-6)
