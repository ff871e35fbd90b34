import pytest

from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score
from tests.support.rewards.responses import pairs

GROUNDING = Task(
    id="g",
    domain="open",
    form="boxes",
    family="grounding",
    question="?",
    images=("x.png",),
    gold=("[100, 100, 400, 500]", "[600, 100, 900, 500]"),
)


def judged(task, *answers):
    return score(task, pairs(*answers), RewardConfig())


@pytest.mark.parametrize(
    "answer, outcome",
    [
        ("[100, 100, 400, 500], [600, 100, 900, 500]", 1),
        ("[600, 100, 900, 500] and [100,100,400,500]", 1),
        ("[100, 100, 400, 500]", 1 / 2),
        ("[100, 100, 250, 500], [600, 100, 900, 500]", 3 / 4),
        ("[0, 0, 1000, 1000]", 0.12 / 2),
        ("on the left", 0),
        ("[100, 100, 400, 500], [600, 100, 900, 500], [0, 0, 50, 50]", 2 / 3),
    ],
)
def test_boxes_are_worth_their_overlap(answer, outcome):
    assert judged(GROUNDING, answer).outcome == pytest.approx(outcome)


def test_steps_before_the_boxes_are_allowed_and_earn_nothing():
    bare, with_steps = judged(GROUNDING, *GROUNDING.gold[:1]), judged(GROUNDING, "left ✅", *GROUNDING.gold[:1])
    assert with_steps.total == bare.total and with_steps.process == with_steps.reason == 0
    assert len(with_steps.steps) == 1 and with_steps.answer == ("[100, 100, 400, 500]",)
