"""A run folder is read back in words and numbers."""

import pytest

from cluster.record.run_reader import Estimate, StageHistory, duration
from curriculum.stages import Gate, Plateau, StageConfig


def test_why_a_stage_ended():
    gate = Gate(measure="open_micro_f1", max_steps=40, threshold=0.55, plateau=Plateau(evaluations=2, min_gain=0.01))
    config = StageConfig(name="open", kind="grpo", tasks={"diagnosis": 1}, gate=gate)

    def why(reason, *scores):
        return StageHistory(config, 30, reason, [(10 * i, score) for i, score in enumerate(scores, 1)], {}, []).why

    assert why("threshold", 0.4, 0.56) == "validation open micro-F1 0.560 reached the threshold 0.55"
    assert why("plateau", 0.45, 0.41, 0.452).endswith(
        "best of the last 2 evaluations 0.452, best before 0.450, required gain 0.01; threshold 0.55"
    )
    held_back = StageHistory(config, 40, "maximum", [(40, 0.6)], {}, [], ("format 0.8 is below 0.9",)).why
    assert held_back == (
        "its 40 steps were used up; validation open micro-F1 0.600, threshold 0.55; format 0.8 is below 0.9"
    )
    assert why(None) == "not ended; validation open micro-F1 not measured, threshold 0.55, at most 40 steps"


@pytest.mark.parametrize(
    "seconds, words",
    [(4.23, "4.2 s"), (59.4, "59 s"), (786, "13 min 6 s"), (3599.6, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_a_duration_in_words(seconds, words):
    assert duration(seconds) == words


def test_an_estimate_in_words():
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
    assert Estimate(-0.5, -0.75, 0.25).signed == "-0.500 [-0.750, +0.250]"
