import pytest
from pydantic import ValidationError

from rewards.config import RewardConfig


@pytest.mark.parametrize(
    "values", [{"process": 0.9}, {"outcome": 0.2}, {"outcome": 0}, {"format": -1}, {"max_candidates": 0}, {"weight": 1}]
)
def test_weights_that_open_a_hole_are_refused(values):
    with pytest.raises(ValidationError):
        RewardConfig(**values)


@pytest.mark.parametrize(
    "values, reason",
    [
        ({"process": 0.6, "reason": 0.4}, "must weigh less than outcome"),
        ({"preset": "paper", "reason": 0}, "takes no other setting, found reason"),
        ({"length": (1.5, 2)}, "a low end of at most 1"),
        ({"attributes": ["colour"]}, "'side', 'severity' or 'place'"),
        ({"preset": "paper", "attributes": ["side"]}, "takes no other setting, found attributes"),
        ({"own": {"mine": {"rule": "no colon", "weight": 1}}}, "should match pattern"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_with_the_reason(values, reason):
    with pytest.raises(ValidationError, match=reason):
        RewardConfig(**values)


def test_the_batch_gate_belongs_to_paper_and_to_recipes_that_name_it():
    assert RewardConfig(preset="paper").batch_gate and RewardConfig(gates=("batch",)).batch_gate
    assert not RewardConfig().batch_gate


def test_rarity_weighs_a_finding_by_its_share_of_the_films():
    shares = {"Effusion": 0.4, "Mass": 0.1, "Hernia": 0.0}
    weights = RewardConfig(rarity=0.5).weighted_by(shares).finding_weights
    assert weights == {"Effusion": 1, "Mass": pytest.approx(2)}  # the square root of 0.4 / 0.1
    assert RewardConfig(rarity=1, finding_weights={"Mass": 3}).weighted_by(shares).finding_weights["Mass"] == 3
    assert RewardConfig().weighted_by(shares).finding_weights == {}
    assert RewardConfig(rarity=1).weighted_by({}).finding_weights == {}
