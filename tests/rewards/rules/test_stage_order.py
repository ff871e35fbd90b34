import pytest

from rewards.own import stage_order
from tests.support.rewards.responses import SINGLE, written

STAGES = ["Heart", "Lungs", "Bones"]


@pytest.mark.parametrize(
    "begins, value",
    [
        ([], 0),
        (["Skin"], 0),
        (["Heart"], 1 / 3),
        (["heart", "LUNGS"], 2 / 3),
        (["Heart", "Lungs", "Bones"], 1),
        (["Heart", "Heart", "Lungs", "Skin", "Bones"], 1),  # a stage may have several steps, and others between
        (["Lungs", "Heart"], 0),
        (["Heart", "Bones", "Lungs"], 1 / 2),  # one of two changes goes forwards
        (["Bones", "Lungs", "Heart", "Bones"], 1 / 3),
    ],
)
def test_the_share_of_stages_times_the_share_of_changes_forwards(begins, value):
    response = written(*((f"{stage} is normal.", "A ❌") for stage in begins))
    assert stage_order(SINGLE, response, None, stages=STAGES) == pytest.approx(value)


def test_a_step_may_name_its_stage_in_the_answer():
    response = written(("Clear.", "Lungs ✅"), ("Straight.", "Bones ✅"))
    assert stage_order(SINGLE, response, None, stages=STAGES) == pytest.approx(2 / 3)
