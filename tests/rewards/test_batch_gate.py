import pytest

from rewards.batch_gate import BatchGate
from rewards.verdict import StepVerdict, Verdict

STEP = StepVerdict(0, 10, "A", "right", 0.5, "A is in the gold")


def batch(*outcomes):
    """One group with these outcomes, each with process and reason worth 0.5 more."""
    return [[Verdict(o + 0.5, o, 1.0, o, 1.0, 1.0, ("A",), (STEP,)) for o in outcomes]]


def test_the_gate_follows_the_running_mean():
    gate = BatchGate()
    means, is_open = [], []
    for outcomes in ([0.5], [0.4], [0.49], [0.9, 0.5]):
        is_open.append(gate.apply(batch(*outcomes))[1])
        means.append(gate.mean)
    second = 0.2 * 0.4 + 0.8 * 0.5
    third = 0.2 * 0.49 + 0.8 * second
    assert means == pytest.approx([0.5, second, third, 0.2 * 0.7 + 0.8 * third])
    assert is_open == [True, False, True, True]  # 0.49 is above the running mean of 0.48


def test_a_shut_gate_takes_process_and_reason_away():
    gate = BatchGate()
    [[unchanged]], _ = gate.apply(batch(0.5))
    [[held]], _ = gate.apply(batch(0.25))
    assert unchanged == batch(0.5)[0][0]
    assert held.total == held.base == 0.25 and [step.score for step in held.steps] == [0]
    assert "batch gate shut" in held.why[-1]


def test_the_state_goes_on_after_a_resume():
    gate, resumed = BatchGate(), BatchGate()
    gate.apply(batch(0.5))
    resumed.load_state_dict(gate.state_dict())
    assert gate.apply(batch(0.4)) == resumed.apply(batch(0.4))
