"""Policy losses: small pure functions over flat token vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .training import Correction


def clipped_policy_loss(logp: Tensor, old: Tensor, advantages: Tensor, low: float, high: float,
                        dual: float | None) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate per token, [tokens], and which tokens were clipped, bool [tokens].

    max(−A r, −A clip(r, 1 − low, 1 + high)), r = exp(logp − old) with the log-ratio clamped to ±20 (verl);
    with `dual` c, at most −A c where A < 0 (dual-clip PPO, arXiv 1912.09729).
    """
    ratio = torch.exp(torch.clamp(logp - old, -20.0, 20.0))
    plain, clipped = -advantages * ratio, -advantages * torch.clamp(ratio, 1 - low, 1 + high)
    loss = torch.maximum(plain, clipped)
    if dual is not None:
        loss = torch.where(advantages < 0, torch.minimum(loss, -advantages * dual), loss)
    return loss, (clipped > plain).detach()


def off_policy_weights(learner: Tensor, rollout: Tensor, lengths: Sequence[int], correction: Correction,
                       cap: float) -> Tensor:
    """What each token's loss is multiplied by, [tokens], since another policy than the learner's wrote it; detached.

    r = exp(learner − rollout), both as they were before the update. `token`: min(r, cap), truncated importance sampling
    (IMPALA, arXiv 1802.01561 §4.1; for rollouts of language models verl's rollout correction). `sequence`: the same of the
    product of r over a response; `lengths` are the responses' tokens. `mask`: 1 where 1 / cap ≤ r ≤ cap, else 0. `none`: 1.
    """
    if correction == "none":
        return torch.ones_like(learner)
    distance = (learner - rollout).detach()
    if correction == "sequence":
        distance = torch.cat([part.sum().expand(len(part)) for part in distance.split(list(lengths))])
    ratio = torch.exp(torch.clamp(distance, -20.0, 20.0))
    if correction == "mask":
        return ((ratio >= 1 / cap) & (ratio <= cap)).to(learner.dtype)
    return torch.clamp(ratio, max=cap)


def k3(logp: Tensor, reference: Tensor) -> Tensor:
    """exp(ref − logp) − (ref − logp) − 1 per token: an unbiased, non-negative estimate of KL(policy ‖ reference)
    (Schulman, "Approximating KL divergence", 2020)."""
    difference = torch.clamp(reference - logp, -20.0, 20.0)
    return torch.exp(difference) - difference - 1
