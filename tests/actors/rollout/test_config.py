"""The rollout workers' configuration."""

import pytest
from pydantic import ValidationError

from actors.rollout.config import RolloutConfig


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(min=1), "min and max of the rollout workers are given together"),
        (dict(max=3), "min and max of the rollout workers are given together"),
        (dict(workers=4, min=1, max=3), "workers 4 is not between min 1 and max 3"),
    ],
)
def test_a_range_must_hold_the_workers(settings, words):
    with pytest.raises(ValidationError, match=words):
        RolloutConfig(**settings)
    assert RolloutConfig(workers=2, min=1, max=3).max == 3


@pytest.mark.parametrize("gpus, sleep, share", [(1, False, 0.8), (0.5, False, 0.4), (0.5, True, 0.8), (2, False, 0.8)])
def test_an_engine_takes_its_share_of_each_gpu(gpus, sleep, share):
    assert RolloutConfig(gpus=gpus, sleep=sleep, gpu_memory=0.8).gpu_share == pytest.approx(share)
