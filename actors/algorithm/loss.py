"""Policy losses: small pure functions over flat token vectors. Responses follow one another in a vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from actors.algorithm.config import Aggregation, Correction, Estimator, GrpoTraining, Ratio

LIMIT = 20.0  # of a log-ratio, so that its exp stays finite (verl)


class Tokens(NamedTuple):
    """What is known about a micro-batch's tokens before its forward pass; each attribute is [tokens].

    Attributes:
        old: log-probabilities under the policy before the update.
        rollout: log-probabilities under the policy that wrote the tokens.
        advantages: of the tokens.
        weights: `response_weights`, repeated for each token: of KL and entropy, which are on all tokens.
        policy_weights: the same without the tokens that do not count for the policy loss.
        reference: log-probabilities under the reference policy; None without one.
        teacher: log-probabilities under the teacher, anything where `teacher_weights` is 0; None without one.
        teacher_weights: of the teacher's advantage.
    """

    old: Tensor
    rollout: Tensor
    advantages: Tensor
    weights: Tensor
    policy_weights: Tensor
    reference: Tensor | None
    teacher: Tensor | None = None
    teacher_weights: Tensor | None = None


def objective(
    logp: Tensor, entropy: Tensor, tokens: Tokens, lengths: Sequence[int], training: GrpoTraining
) -> tuple[Tensor, dict[str, Tensor]]:
    """A micro-batch's share of the loss of its update.

    It is Σ policy weight × policy loss × off-policy weight + weight × (kl × KL − entropy × entropy). KL and entropy are
    aggregated as the policy loss is (as in verl; TRL does so for the KL), but always over all tokens.

    Args:
        logp: log-probabilities under the policy, [tokens].
        entropy: of the policy's distribution at each token, [tokens].
        lengths: of the responses, in tokens.

    Returns:
        The loss, a scalar; and for each token, [tokens] without gradient: `loss`, its share of it; `kl`, its divergence
        from the reference (k3); `clipped`, whether it was clipped; `correction`, its off-policy weight.
    """
    distance = log_ratio(logp, tokens.old, lengths, training.ratio)
    advantages = tokens.advantages
    if tokens.teacher is not None:
        advantages = advantages + tokens.teacher_weights * teacher_advantages(tokens.old, tokens.teacher)
    if training.clip == "cispo":
        loss, clipped = cispo_loss(logp, distance, advantages, training.clip_low, training.clip_high)
    else:
        loss, clipped = clipped_policy_loss(
            distance, advantages, training.clip_low, training.clip_high, training.dual_clip
        )
    correction = off_policy_weights(tokens.old, tokens.rollout, lengths, training.correction, training.correction_cap)
    loss = loss * correction * tokens.policy_weights
    divergence = torch.zeros_like(logp)
    if tokens.reference is not None:
        divergence = kl_estimate(logp.detach(), tokens.reference, "k3")
        if training.kl_in == "loss":
            loss = loss + training.kl * kl_estimate(logp, tokens.reference, training.kl_estimator) * tokens.weights
    if training.entropy:
        loss = loss - training.entropy * entropy * tokens.weights
    return loss.sum(), {"loss": loss.detach(), "kl": divergence, "clipped": clipped, "correction": correction}


def teacher_advantages(old: Tensor, teacher: Tensor) -> Tensor:
    """log π_teacher − log π_old of each token, [tokens], within ±`LIMIT`: what a teacher says of a token.

    Its expectation over tokens that the policy wrote is −KL(π ‖ π_teacher). So on its own policy, where r = 1, the
    policy gradient with this advantage is the gradient of that divergence, token by token (reverse KL with a discount
    of 0: Thinking Machines Lab, "On-Policy Distillation", 2025; GKD, arXiv 2306.13649; Qwen3, arXiv 2505.09388 §4.5).

    Args:
        old: log-probabilities under the policy before the update.
        teacher: log-probabilities under the teacher.
    """
    return torch.clamp(teacher - old, -LIMIT, LIMIT)


def log_ratio(logp: Tensor, old: Tensor, lengths: Sequence[int], level: Ratio) -> Tensor:
    """log of policy over old policy, [tokens].

    `token`: logp − old. `sequence`: the mean of that over a response's tokens, log s in GSPO (arXiv 2507.18071 §4.1).
    Each token carries its own share of the gradient, log s = sg[log s] + logp − sg[logp] (GSPO-token, §4.3), so that
    tokens may have advantages of their own. If they have none, loss and gradient are those of GSPO.
    """
    distance = logp - old
    if level == "token":
        return distance
    return logp - logp.detach() + per_response(distance.detach(), lengths, torch.mean)


def clipped_policy_loss(
    log_ratio: Tensor, advantages: Tensor, low: float | None, high: float | None, dual: float | None = None
) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate per token, [tokens], and which tokens were clipped, bool [tokens].

    max(−A r, −A clip(r, 1 − low, 1 + high)), r = exp(log_ratio) (arXiv 1707.06347 §3; two bounds: DAPO, arXiv
    2503.14476 §3.1). A bound of None means no clipping on that side. With `dual` c, at most −A c if A < 0 (dual-clip
    PPO, arXiv 1912.09729).
    """
    ratio = torch.exp(torch.clamp(log_ratio, -LIMIT, LIMIT))
    plain = -advantages * ratio
    clipped = -advantages * _bounded(ratio, low, high)
    loss = torch.maximum(plain, clipped)
    if dual is not None:
        loss = torch.where(advantages < 0, torch.minimum(loss, -advantages * dual), loss)
    return loss, (clipped > plain).detach()


def cispo_loss(
    logp: Tensor, log_ratio: Tensor, advantages: Tensor, low: float | None, high: float | None
) -> tuple[Tensor, Tensor]:
    """CISPO's loss per token, [tokens], and which tokens' weights were clipped, bool [tokens].

    −sg[clip(r, 1 − low, 1 + high)] A logp (MiniMax-M1, arXiv 2506.13585 §3.1): weights are clipped, but no token loses
    its gradient.
    """
    ratio = torch.exp(torch.clamp(log_ratio.detach(), -LIMIT, LIMIT))
    weight = _bounded(ratio, low, high)
    return -weight * advantages * logp, weight != ratio


def _bounded(ratio: Tensor, low: float | None, high: float | None) -> Tensor:
    floor = -math.inf if low is None else 1 - low
    ceiling = math.inf if high is None else 1 + high
    return torch.clamp(ratio, floor, ceiling)


def off_policy_weights(
    learner: Tensor, rollout: Tensor, lengths: Sequence[int], correction: Correction, cap: float
) -> Tensor:
    """The factor of each token's loss, [tokens], that corrects for another policy than the learner's having written it.

    It has no gradient. r = exp(learner − rollout), both before the update.

    Args:
        learner: log-probabilities under the learner's policy, [tokens].
        rollout: log-probabilities under the policy that wrote the tokens, [tokens].
        lengths: of the responses, in tokens.
        correction: `token`: min(r, cap), truncated importance sampling (IMPALA, arXiv 1802.01561 §4.1; for rollouts of
            language models, verl's rollout correction). `sequence`: the same for the product of r over a response.
            `mask`: 1 if 1 / cap ≤ r ≤ cap, otherwise 0. `none`: 1.
    """
    if correction == "none":
        return torch.ones_like(learner)
    distance = (learner - rollout).detach()
    if correction == "sequence":
        distance = per_response(distance, lengths, torch.sum)
    ratio = torch.exp(torch.clamp(distance, -LIMIT, LIMIT))
    if correction == "mask":
        return ((ratio >= 1 / cap) & (ratio <= cap)).to(learner.dtype)
    return torch.clamp(ratio, max=cap)


def kl_estimate(logp: Tensor, reference: Tensor, estimator: Estimator) -> Tensor:
    """An estimate of KL(policy ‖ reference) at each token, [tokens] (Schulman, "Approximating KL divergence", 2020).

    With d = logp − reference: `k1` is d, `k2` is d² / 2, `k3` is exp(−d) + d − 1. k1 and k3 are unbiased if the policy
    itself wrote the tokens; k3 is never negative. As a loss, k2 has the gradient of the divergence, while the gradient
    of k1 is zero on average.
    """
    difference = reference - logp
    if estimator == "k1":
        return -difference
    if estimator == "k2":
        return difference.square() / 2
    difference = torch.clamp(difference, -LIMIT, LIMIT)
    return torch.exp(difference) - difference - 1


def response_weights(
    lengths: Sequence[int], kept: Sequence[bool], aggregation: Aggregation, length_scale: int | None = None
) -> np.ndarray:
    """The weight of every token of a response in the loss, float64 [responses].

    The loss is the sum of weight × token loss over all ranks and micro-batches, so it does not depend on how responses
    are distributed over them.

    Args:
        lengths: of ALL responses of an update, in tokens.
        kept: whether each response is trained on. One that is not has weight 0.
        aggregation: with T tokens and S non-empty responses kept, a response of n tokens has the weight
            `token_mean`: 1 / T (DAPO, arXiv 2503.14476 §3.3);
            `sequence_mean`: 1 / (S n) (GRPO, arXiv 2402.03300 eq. 3);
            `sequence_sum`: 1 / (S × length_scale) (Dr. GRPO, arXiv 2503.20783).
        length_scale: Dr. GRPO's constant, the maximum length of a response.

    Raises:
        ValueError: sequence_sum without a length_scale.
    """
    if aggregation == "sequence_sum" and not length_scale:
        raise ValueError("aggregation sequence_sum divides by length_scale, which is missing")
    tokens = np.where(kept, lengths, 0).astype(np.float64)
    responses = max((tokens > 0).sum(), 1)
    if aggregation == "token_mean":
        weights = 1 / max(tokens.sum(), 1)
    elif aggregation == "sequence_mean":
        weights = 1 / (responses * np.maximum(tokens, 1))
    else:
        weights = 1 / (responses * length_scale)
    return np.where(tokens > 0, weights, 0.0)


def per_response(values: Tensor, lengths: Sequence[int], reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Each response's values reduced to one number, which every token of it gets: [tokens]."""
    return torch.cat([reduce(part).expand(len(part)) for part in values.split(list(lengths))])
