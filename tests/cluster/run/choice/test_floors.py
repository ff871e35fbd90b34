"""What keeps a stage from ending by its threshold."""

from types import SimpleNamespace

from cluster.measures import Result, Scores
from cluster.run.choice.floors import below_floors, forgotten
from curriculum.stages import Floors, Forget, Gate
from rewards.config import RewardConfig
from rewards.score import score
from tests.support.results import OPEN, closed

CLOSED = [closed(number, number < 6) for number in range(10)]


class Answers:
    def results(self, measure, families=()):
        return CLOSED if measure == "closed_accuracy" else OPEN

    def scores(self, measure, families=()):
        return Scores(self.results(measure), 10)


def below(**floors):
    gate = Gate(measure="closed_accuracy", max_steps=10, floors=Floors(**floors))
    return below_floors(gate, Answers())


def test_each_floor_is_held_against_its_own_measure():
    assert below(format=1.0, measures={"closed_accuracy": 0.6}, recall={"Mass": 1.0}) == []
    assert below(measures={"closed_accuracy": 0.61, "open_micro_f1": 0.9}) == [
        "closed accuracy 0.600 is below 0.61",
        f"open micro-F1 {Answers().scores('open_micro_f1').measures()['open_micro_f1'][0]:.3f} is below 0.9",
    ]
    assert below(recall={"mass": 0.5, "Edema": 0.2}) == ["recall of Edema 0.000 is below 0.2"]


def test_a_malformed_answer_counts_against_the_format():
    task, whole = CLOSED[0].task, CLOSED[0]
    CLOSED[0] = Result(task, "A", score(task, "A", RewardConfig()))
    try:
        assert below(format=0.95) == ["format 0.900 is below 0.95"]
    finally:
        CLOSED[0] = whole


def test_a_fall_counts_if_its_whole_interval_is_larger_than_allowed():
    stage = SimpleNamespace(forget=Forget(drop=0.1))
    changes = {"sft": (-0.2, -0.3, -0.11), "closed": (-0.2, -0.31, -0.09), "more": (0.1, 0.0, 0.2)}
    assert forgotten(stage, changes) == {
        "sft": "stage sft lost 0.200 [0.110, 0.300] since its end, more than 0.1",
    }
    assert forgotten(SimpleNamespace(forget=None), changes) == {}
