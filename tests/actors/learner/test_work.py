"""What ranks counted, as metrics: worked out by hand."""

import pytest

from actors.learner.work import RankWork, WorkCount, learner_speed
from actors.model.flops.amounts import Amounts
from actors.model.flops.costs import Flops, ModelCosts


def test_a_rank_counts_forwards_alone_and_with_a_backward():
    zero = Flops()
    count = WorkCount(ModelCosts(Flops(2, 4, 1), zero, Flops(10, 20, 10), zero, zero), 1e12)
    count.add(Amounts(tokens=100, words=10), backward=True)
    count.add(Amounts(tokens=50), backward=False)
    work = count.done()
    assert (work.model_flops, work.hardware_flops) == (600 + 300 + 100, 600 + 300 + 100 + 100 + 100)
    assert work.peak == 1e12 and work.seconds >= 0
    count.add(Amounts(tokens=50), False, ModelCosts(Flops(6, 0, 0), zero, zero, zero, zero))  # of a teacher
    assert count.done().model_flops == 1000 + 300
    count.restart()
    assert count.done().model_flops == 0


def test_all_ranks_take_as_long_as_the_slowest():
    speed = learner_speed(800, [RankWork(3e12, 4e12, 1.0, 10e12), RankWork(5e12, 6e12, 2.0, 10e12)])
    assert speed == {
        "learner_flops": pytest.approx(2e12),
        "learner_tokens_per_s": pytest.approx(200),
        "mfu": pytest.approx(0.2),
        "hfu": pytest.approx(0.25),
    }


def test_without_a_known_peak_there_is_no_share_of_it():
    assert "mfu" not in learner_speed(800, [RankWork(3e12, 3e12, 1.0, 10e12), RankWork(3e12, 3e12, 1.0, None)])
