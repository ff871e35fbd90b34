import numpy as np
import pytest

from actors.rollout.config import RolloutConfig
from actors.rollout.probe import LARGEST, ProbeDifference, probe_fault


def test_the_difference_is_over_all_tokens_of_all_samples():
    difference = ProbeDifference.over([np.array([0.1, -0.3]), np.array([0.0, 0.0])])
    assert difference == pytest.approx((0.1, 0.3))
    assert ProbeDifference.over([]) == (0, 0)


@pytest.mark.parametrize(
    "dtype, mean, largest, passes",
    [
        ("float32", 1e-6, 3e-6, True),
        ("float32", 1e-3, 1e-3, False),
        ("float32", 1e-6, 1e-2, False),  # one token alone
        ("bfloat16", 0.0011, 0.15, True),  # a small trained model, with the right weights
        ("bfloat16", 0.3, 0.4, False),
        ("bfloat16", 0.01, 2.0, False),
        ("bfloat16", float("nan"), float("nan"), False),
    ],
)
def test_rounding_passes_in_its_type_and_other_weights_in_none(dtype, mean, largest, passes):
    fault = probe_fault(ProbeDifference(mean, largest), RolloutConfig(dtype=dtype).tolerance)
    assert (fault == "") == passes
    assert passes or "rollout.probe_tolerance" in fault


def test_a_recipe_may_set_the_tolerance_of_the_mean():
    config = RolloutConfig(probe_tolerance=0.2)
    assert not probe_fault(ProbeDifference(0.2, 0.2 * LARGEST), config.tolerance)
    assert probe_fault(ProbeDifference(0.21, 0.21), config.tolerance)
