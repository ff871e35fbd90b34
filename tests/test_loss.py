import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.loss import clipped_policy_loss, k3, off_policy_weights

logs = st.floats(-30, 0)
tokens = st.lists(st.tuples(logs, logs, st.floats(-3, 3)), min_size=1, max_size=8)
bounds = st.tuples(st.floats(0.05, 0.5), st.floats(0.05, 0.9), st.none() | st.floats(1.5, 5))


def surrogate(logp, old, advantage, low, high, dual):
    """Of one token, case by case: (loss, d loss / d logp, clipped)."""
    distance = logp - old
    ratio = math.exp(min(20, max(-20, distance)))
    slope = ratio if -20 < distance < 20 else 0.0
    if advantage > 0:
        return (-advantage * (1 + high), 0.0, True) if ratio > 1 + high else (-advantage * ratio, -advantage * slope,
                                                                              False)
    if advantage == 0:
        return 0.0, 0.0, False
    if ratio < 1 - low:
        return -advantage * (1 - low), 0.0, True
    if dual is not None and ratio > dual:
        return -advantage * dual, 0.0, False
    return -advantage * ratio, -advantage * slope, False


def columns(rows):
    return (torch.tensor(column, dtype=torch.float64) for column in zip(*rows))


@given(tokens, bounds)
def test_clipped_loss_and_its_gradient_against_one_token_at_a_time(rows, bounds):
    low, high, dual = bounds
    logp, old, advantages = columns(rows)
    logp.requires_grad_()
    loss, clipped = clipped_policy_loss(logp, old, advantages, low, high, dual)
    loss.sum().backward()
    for n, row in enumerate(rows):
        value, slope, cut = surrogate(*row, low, high, dual)
        ratio = math.exp(min(20, max(-20, row[0] - row[1])))
        if any(abs(ratio - edge) < 1e-6 for edge in (1 - low, 1 + high, dual) if edge is not None):
            continue  # on an edge either slope is right
        assert loss[n].item() == pytest.approx(value, rel=1e-9, abs=1e-12)
        assert logp.grad[n].item() == pytest.approx(slope, rel=1e-9, abs=1e-12)
        assert clipped[n].item() == cut


def test_on_policy_the_gradient_is_the_advantage():
    logp = torch.tensor([-1.0, -2.0, -0.1], requires_grad=True)
    advantages = torch.tensor([1.5, -0.5, 0.0])
    loss, clipped = clipped_policy_loss(logp, logp.detach().clone(), advantages, 0.2, 0.3, 3.0)
    loss.sum().backward()
    assert torch.equal(logp.grad, -advantages) and torch.equal(loss.detach(), -advantages) and not clipped.any()
    assert not clipped.requires_grad


@pytest.mark.parametrize("ratio, advantage, loss, slope, cut", [
    (1.5, 1.0, -1.3, 0.0, True),  # enough of a good thing
    (0.5, 1.0, -0.5, -0.5, False),  # a good token that became rarer is pulled back
    (0.5, -1.0, 0.8, 0.0, True),
    (1.5, -1.0, 1.5, 1.5, False),
    (9.0, -1.0, 3.0, 0.0, False),  # dual clip: a bad token that became far more likely does not explode
])
def test_by_hand(ratio, advantage, loss, slope, cut):
    logp = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    value, clipped = clipped_policy_loss(logp, torch.zeros(1, dtype=torch.float64), torch.tensor([advantage]).double(),
                                         0.2, 0.3, 3.0)
    value.sum().backward()
    assert (value.item(), logp.grad.item()) == (pytest.approx(loss), pytest.approx(slope)) and clipped.item() is cut


def test_far_apart_log_probabilities_stay_finite():
    for logp, old in ((0.0, -500.0), (-500.0, 0.0)):
        tensors = torch.tensor([logp]), torch.tensor([old])
        for advantage in (1.0, -1.0):
            loss, _ = clipped_policy_loss(*tensors, torch.tensor([advantage]), 0.2, 0.3, None)
            assert torch.isfinite(loss).all()
        assert torch.isfinite(k3(*tensors)).all()


@given(st.lists(st.tuples(logs, logs), min_size=1, max_size=8))
def test_k3_and_its_gradient(rows):
    logp, reference = columns(rows)
    logp.requires_grad_()
    estimate = k3(logp, reference)
    estimate.sum().backward()
    for n, (p, q) in enumerate(rows):
        difference = min(20, max(-20, q - p))
        assert estimate[n].item() == pytest.approx(math.exp(difference) - difference - 1, rel=1e-9,
                                                   abs=1e-12) and estimate[n] >= 0
        if abs(q - p) < 20:
            assert logp.grad[n].item() == pytest.approx(1 - math.exp(q - p), rel=1e-9, abs=1e-12)
    assert k3(reference, reference).eq(0).all()


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=2, max_size=6))
def test_k3_is_the_divergence_on_average(weights):
    p, q = (column / column.sum() for column in columns(weights))
    divergence = sum(a * math.log(a / b) for a, b in zip(p.tolist(), q.tolist()))
    assert (p * k3(p.log(), q.log())).sum().item() == pytest.approx(divergence, abs=1e-9)


@given(st.lists(st.lists(st.tuples(logs, logs), max_size=5), min_size=1, max_size=4), st.floats(1.1, 5))
def test_off_policy_weights_against_one_response_at_a_time(responses, cap):
    rows = [row for response in responses for row in response]
    learner, rollout = (torch.tensor([row[i] for row in rows], dtype=torch.float64) for i in (0, 1))
    learner.requires_grad_()
    lengths = [len(response) for response in responses]

    def ratio(distance):
        return math.exp(min(20, max(-20, distance)))

    expected = {
        "none": [1.0 for _ in rows],
        "token": [min(cap, ratio(a - b)) for a, b in rows],
        "sequence": [min(cap, ratio(sum(a - b for a, b in response))) for response in responses for _ in response],
        "mask": [float(1 / cap <= ratio(a - b) <= cap) for a, b in rows]}
    for correction, values in expected.items():
        weights = off_policy_weights(learner, rollout, lengths, correction, cap)
        assert weights.tolist() == pytest.approx(values, rel=1e-9) and not weights.requires_grad


def test_on_policy_the_correction_changes_nothing():
    logp = torch.tensor([-1.0, -2.0, -0.5])
    for correction in ("none", "token", "sequence", "mask"):
        assert off_policy_weights(logp, logp.clone(), [1, 2], correction, 2.0).tolist() == [1.0, 1.0, 1.0]
