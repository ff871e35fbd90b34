"""The learner's configuration refuses what cannot work."""

import pytest
from pydantic import ValidationError

from actors.learner.config import LearnerConfig


@pytest.mark.parametrize(
    "config, why",
    [
        (dict(offload="optimiser", zero_stage=2), "gpus: 0 all is there already"),
        (dict(offload="optimiser", gpus=1), "set zero_stage to 1 or 2 or 3, found 0"),
        (dict(offload="parameters", gpus=1, zero_stage=2), "set zero_stage to 3, found 2"),
        (
            dict(dtype="bfloat16"),
            "bfloat16 needs gradients and master weights in float32: set zero_stage to 1 or 2 or 3",
        ),
        (dict(lr_scale={"eyes": 1}), "vision"),
        (dict(workers=2, min_workers=3), "min_workers: 3 is more than workers, 2"),
    ],
)
def test_switches_that_do_not_go_together_are_refused(config, why):
    with pytest.raises(ValidationError, match=why):
        LearnerConfig(**config)


def test_ranks_without_which_there_is_no_learner():
    assert LearnerConfig(workers=3).fewest == 3
    assert LearnerConfig(workers=3, min_workers=2).fewest == 2
