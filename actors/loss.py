"""Policy losses: small pure functions over flat token vectors."""

from __future__ import annotations

import torch
from torch import Tensor


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


def k3(logp: Tensor, reference: Tensor) -> Tensor:
    """exp(ref − logp) − (ref − logp) − 1 per token: an unbiased, non-negative estimate of KL(policy ‖ reference)
    (Schulman, "Approximating KL divergence", 2020)."""
    difference = torch.clamp(reference - logp, -20.0, 20.0)
    return torch.exp(difference) - difference - 1
