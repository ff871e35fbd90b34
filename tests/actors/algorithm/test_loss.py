"""Policy losses, KL estimates and weights against plain arithmetic, in value and gradient."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.algorithm.config import GrpoTraining
from actors.algorithm.loss import (
    LIMIT,
    Tokens,
    cispo_loss,
    clipped_policy_loss,
    kl_estimate,
    log_ratio,
    objective,
    off_policy_weights,
    response_weights,
)
from actors.algorithm.presets import PRESETS
from tests.support.models.plain_loss import LONGEST, naive

logs = st.floats(-30, 0)
tokens = st.lists(st.tuples(logs, logs, st.floats(-3, 3)), min_size=1, max_size=8)
bounds = st.tuples(st.none() | st.floats(0.05, 0.5), st.none() | st.floats(0.05, 0.9), st.none() | st.floats(1.5, 5))
lengths_and_kept = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=8)


def surrogate(logp, old, advantage, low, high, dual):
    """Of one token, case by case: (loss, d loss / d logp, clipped)."""
    distance = logp - old
    ratio = math.exp(min(20, max(-20, distance)))
    slope = ratio if -20 < distance < 20 else 0.0
    low, high = math.inf if low is None else low, math.inf if high is None else high
    if advantage > 0:
        return (
            (-advantage * (1 + high), 0.0, True)
            if ratio > 1 + high
            else (-advantage * ratio, -advantage * slope, False)
        )
    if advantage == 0:
        return 0.0, 0.0, False
    if ratio < 1 - low:
        return -advantage * (1 - low), 0.0, True
    if dual is not None and ratio > dual:
        return -advantage * dual, 0.0, False
    return -advantage * ratio, -advantage * slope, False


def columns(rows):
    return (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))


@given(tokens, bounds)
def test_clipped_loss_and_its_gradient_against_one_token_at_a_time(rows, bounds):
    low, high, dual = bounds
    logp, old, advantages = columns(rows)
    logp.requires_grad_()
    loss, clipped = clipped_policy_loss(logp - old, advantages, low, high, dual)
    loss.sum().backward()
    for n, row in enumerate(rows):
        value, slope, cut = surrogate(*row, low, high, dual)
        ratio = math.exp(min(20, max(-20, row[0] - row[1])))
        if any(abs(ratio - edge) < 1e-6 for edge in (1 - (low or 9), 1 + (high or 9), dual or 0)):
            continue  # on an edge either slope is right
        assert loss[n].item() == pytest.approx(value, rel=1e-9, abs=1e-12)
        assert logp.grad[n].item() == pytest.approx(slope, rel=1e-9, abs=1e-12)
        assert clipped[n].item() == cut


def test_on_policy_the_gradient_is_the_advantage():
    logp = torch.tensor([-1.0, -2.0, -0.1], requires_grad=True)
    advantages = torch.tensor([1.5, -0.5, 0.0])
    loss, clipped = clipped_policy_loss(logp - logp.detach().clone(), advantages, 0.2, 0.3, 3.0)
    loss.sum().backward()
    assert torch.equal(logp.grad, -advantages) and torch.equal(loss.detach(), -advantages) and not clipped.any()
    assert not clipped.requires_grad


@pytest.mark.parametrize(
    "ratio, advantage, loss, slope, cut",
    [
        (1.5, 1.0, -1.3, 0.0, True),  # enough of a good thing
        (0.5, 1.0, -0.5, -0.5, False),  # a good token that became rarer is pulled back
        (0.5, -1.0, 0.8, 0.0, True),
        (1.5, -1.0, 1.5, 1.5, False),
        (9.0, -1.0, 3.0, 0.0, False),  # dual clip: a bad token that became far more likely does not explode
    ],
)
def test_by_hand(ratio, advantage, loss, slope, cut):
    logp = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    value, clipped = clipped_policy_loss(logp, torch.tensor([advantage]).double(), 0.2, 0.3, 3.0)
    value.sum().backward()
    assert (value.item(), logp.grad.item()) == (pytest.approx(loss), pytest.approx(slope)) and clipped.item() is cut


def test_far_apart_log_probabilities_stay_finite():
    for logp, old in ((0.0, -500.0), (-500.0, 0.0)):
        tensors = torch.tensor([logp]), torch.tensor([old])
        for advantage in (1.0, -1.0):
            loss, _ = clipped_policy_loss(tensors[0] - tensors[1], torch.tensor([advantage]), 0.2, 0.3, None)
            assert torch.isfinite(loss).all()
        assert torch.isfinite(kl_estimate(*tensors, "k3")).all()


@given(st.lists(st.tuples(logs, logs), min_size=1, max_size=8))
def test_kl_estimates_and_their_gradients(rows):
    logp, reference = columns(rows)
    expected = {
        "k1": lambda d: (d, 1.0),
        "k2": lambda d: (d * d / 2, d),
        "k3": lambda d: (math.exp(-d) + d - 1, 1 - math.exp(-d)),
    }
    for estimator, by_hand in expected.items():
        leaf = logp.clone().requires_grad_()
        estimate = kl_estimate(leaf, reference, estimator)
        estimate.sum().backward()
        for n, (p, q) in enumerate(rows):
            if abs(p - q) < 20 or estimator != "k3":
                value, slope = by_hand(p - q)
                assert estimate[n].item() == pytest.approx(value, rel=1e-9, abs=1e-12)
                assert leaf.grad[n].item() == pytest.approx(slope, rel=1e-9, abs=1e-12)
            assert estimator == "k1" or estimate[n] >= 0
        assert kl_estimate(reference, reference, estimator).eq(0).all()


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=2, max_size=6))
def test_k1_and_k3_are_the_divergence_on_average_and_the_gradient_of_k2_is_its_gradient(weights):
    p, q = (column / column.sum() for column in columns(weights))
    divergence = sum(a * math.log(a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True))
    for estimator in ("k1", "k3"):
        assert (p * kl_estimate(p.log(), q.log(), estimator)).sum().item() == pytest.approx(divergence, abs=1e-9)
    logits = p.log().requires_grad_()
    logp = torch.log_softmax(logits, -1)
    (exact,) = torch.autograd.grad((logp.exp() * (logp - q.log())).sum(), logits, retain_graph=True)
    (sampled,) = torch.autograd.grad((p * kl_estimate(logp, q.log(), "k2")).sum(), logits)
    assert sampled.tolist() == pytest.approx(exact.tolist(), abs=1e-9)


@given(st.lists(st.lists(st.tuples(logs, logs), max_size=5), min_size=1, max_size=4), st.floats(-3, 3))
def test_the_sequence_ratio_is_gspos_in_value_and_gradient(responses, advantage):
    """Independent: (π / π_old)^(1 / |y|) of each response by itself, a mean over responses, differentiated by torch.

    Its logarithm is held within ±`LIMIT`, as every ratio's is.
    """
    rows = [row for response in responses for row in response]
    lengths = [len(response) for response in responses]
    logp, old = (torch.tensor([row[i] for row in rows], dtype=torch.float64) for i in (0, 1))
    ours, theirs = logp.clone().requires_grad_(), logp.clone().requires_grad_()
    loss, _ = clipped_policy_loss(log_ratio(ours, old, lengths, "sequence"), torch.full_like(old, advantage), 0.3, 0.4)
    weights = np.repeat(response_weights(lengths, [True] * len(lengths), "sequence_mean"), lengths)
    total = (loss * torch.from_numpy(weights)).sum()
    plain = [
        torch.exp((a - b).mean().clamp(-LIMIT, LIMIT))
        for a, b in zip(theirs.split(lengths), old.split(lengths), strict=True)
        if len(a)
    ]
    expected = sum(-torch.minimum(s * advantage, s.clamp(0.7, 1.4) * advantage) for s in plain) / max(len(plain), 1)
    if not plain or any(min(abs(s.item() - edge) for edge in (0.7, 1.4)) < 1e-6 for s in plain):
        return  # on an edge either slope is right
    (gradient,), (known,) = torch.autograd.grad(total, ours), torch.autograd.grad(expected, theirs)
    assert total.item() == pytest.approx(expected.item(), rel=1e-9, abs=1e-12)
    assert gradient.tolist() == pytest.approx(known.tolist(), rel=1e-8, abs=1e-12)


@given(tokens, bounds)
def test_cispo_clips_the_weight_and_keeps_every_gradient(rows, bounds):
    low, high, _ = bounds
    logp, old, advantages = columns(rows)
    logp.requires_grad_()
    loss, clipped = cispo_loss(logp, logp - old, advantages, low, high)
    loss.sum().backward()
    for n, (p, q, advantage) in enumerate(rows):
        ratio = math.exp(min(20, max(-20, p - q)))
        weight = min(max(ratio, -math.inf if low is None else 1 - low), math.inf if high is None else 1 + high)
        assert loss[n].item() == pytest.approx(-weight * advantage * p, rel=1e-9, abs=1e-12)
        assert logp.grad[n].item() == pytest.approx(-weight * advantage, rel=1e-9, abs=1e-12)
        assert abs(ratio - weight) < 1e-9 or clipped[n].item()


@given(lengths_and_kept, st.integers(1, 50), st.integers(1, 3))
def test_a_loss_is_aggregated_by_global_counts(responses, scale, ranks):
    """Independent: each definition as nested means; and parts of it, as ranks would hold them, add up to the whole."""
    lengths, kept = zip(*responses, strict=True)
    rng = np.random.default_rng(sum(lengths))
    losses = [rng.normal(size=n) for n in lengths]
    counted = [loss for loss, keep in zip(losses, kept, strict=True) if keep and len(loss)]
    expected = {
        "token_mean": np.concatenate(counted).mean() if counted else 0.0,
        "sequence_mean": np.mean([loss.mean() for loss in counted]) if counted else 0.0,
        "sequence_sum": np.mean([loss.sum() / scale for loss in counted]) if counted else 0.0,
    }
    for how, value in expected.items():
        weights = response_weights(lengths, kept, how, scale)
        parts = [
            sum(w * loss.sum() for w, loss in zip(weights[r::ranks], losses[r::ranks], strict=True))
            for r in range(ranks)
        ]
        assert sum(parts) == pytest.approx(value, rel=1e-9, abs=1e-12)


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
        "mask": [float(1 / cap <= ratio(a - b) <= cap) for a, b in rows],
    }
    for correction, values in expected.items():
        weights = off_policy_weights(learner, rollout, lengths, correction, cap)
        assert weights.tolist() == pytest.approx(values, rel=1e-9) and not weights.requires_grad


def test_on_policy_the_correction_changes_nothing():
    logp = torch.tensor([-1.0, -2.0, -0.5])
    for correction in ("none", "token", "sequence", "mask"):
        assert off_policy_weights(logp, logp.clone(), [1, 2], correction, 2.0).tolist() == [1.0, 1.0, 1.0]


def test_summed_losses_need_their_scale():
    with pytest.raises(ValueError, match="length_scale, which is missing"):
        response_weights([3], [True], "sequence_sum")


switches = st.fixed_dictionaries(
    {
        "algorithm": st.sampled_from(list(PRESETS)),
        "kl": st.sampled_from([0.0, 0.3]),
        "kl_in": st.sampled_from(["loss", "reward"]),
        "kl_estimator": st.sampled_from(["k1", "k2", "k3"]),
        "entropy": st.sampled_from([0.0, 0.2]),
        "correction": st.sampled_from(["none", "token", "sequence"]),
        "aggregation": st.sampled_from(["token_mean", "sequence_mean", "sequence_sum"]),
        "ratio": st.sampled_from(["token", "sequence"]),
        "count_flat_groups": st.booleans(),
    }
)


@settings(deadline=None, max_examples=50)
@given(
    switches,
    st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_the_objective_and_its_gradient_however_responses_are_laid_out(keys, shapes, ranks, seed):
    training = GrpoTraining(**keys).within(LONGEST)
    rng = np.random.default_rng(seed)

    def draw(n, spread=0.5):
        return torch.from_numpy(rng.normal(0, spread, n))

    responses = []
    for length, keep, flat in shapes:
        old = -draw(length).abs() - 0.1
        responses.append(
            [
                old + draw(length),
                draw(length).abs(),
                old,
                old + draw(length),
                draw(length, 1.0) * (not flat),
                old + draw(length),
                keep,
            ]
        )
    lengths, kept, flat = zip(*shapes, strict=True)
    aggregated = training.aggregation, training.length_scale
    weights = response_weights(lengths, kept, *aggregated)
    teaching = [keep and not of_flat for keep, of_flat in zip(kept, flat, strict=True)]
    counts_all = training.count_flat_groups or training.aggregation == "sequence_sum"
    policy_weights = weights if counts_all else response_weights(lengths, teaching, *aggregated)
    ours = [[logp.clone().requires_grad_(), entropy.clone().requires_grad_()] for logp, entropy, *_ in responses]
    total = 0.0
    for rank in range(ranks):
        mine = range(rank, len(responses), ranks)
        if not mine:
            continue
        logp, entropy = (torch.cat([ours[i][k] for i in mine]) for k in (0, 1))
        old, rollout, advantages, reference = (torch.cat([responses[i][k] for i in mine]) for k in (2, 3, 4, 5))
        held = [lengths[i] for i in mine]
        tokens = Tokens(
            old,
            rollout,
            advantages,
            torch.from_numpy(np.repeat(weights[list(mine)], held)),
            torch.from_numpy(np.repeat(policy_weights[list(mine)], held)),
            reference if training.kl else None,
        )
        loss, told = objective(logp, entropy, tokens, held, training)
        total = total + loss
        assert all(not values.requires_grad and len(values) == len(logp) for values in told.values())
    leaves = [leaf for both in ours for leaf in both]
    plainly = [
        [logp.clone().requires_grad_(), entropy.clone().requires_grad_(), *rest] for logp, entropy, *rest in responses
    ]
    expected = naive(plainly, training, [n for n, of_flat in enumerate(flat) if of_flat])
    if not torch.is_tensor(expected):  # no token is kept
        assert float(torch.as_tensor(total).detach()) == pytest.approx(0.0, abs=1e-12)
        return
    assert total.item() == pytest.approx(expected.item(), rel=1e-9, abs=1e-12)
    theirs = [leaf for both in plainly for leaf in both[:2]]
    for a, b in zip(
        *(
            torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
            for loss, inputs in ((total, leaves), (expected, theirs))
        ),
        strict=True,
    ):
        assert a.tolist() == pytest.approx(b.tolist(), rel=1e-8, abs=1e-12)
