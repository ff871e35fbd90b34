"""The output layer: log-probabilities and entropies of the next token without the matrix of [tokens × vocabulary]."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .training import LOGITS_AT_ONCE


class LogprobHead(nn.Linear):
    """An output layer that can be asked for log-probabilities. Called as a module, so that ZeRO-3 gathers its weight."""

    def forward(self, hidden: Tensor, targets: Tensor | None = None, offset: Tensor | None = None,
                temperature: float = 1.0) -> Tensor | tuple[Tensor, Tensor]:
        """Logits; or, with `targets`, what `token_logprobs` gives."""
        if targets is None:
            return super().forward(hidden)
        return token_logprobs(hidden, self.weight, targets, offset, temperature, self.bias)


def token_logprobs(hidden: Tensor, weight: Tensor, targets: Tensor, offset: Tensor | None = None, temperature: float = 1.0,
                   bias: Tensor | None = None, chunk: int = LOGITS_AT_ONCE) -> tuple[Tensor, Tensor]:
    """log softmax((hidden @ weight.T + bias + offset) / temperature) at `targets`, and the entropies, both float32 [tokens].

    Both have gradients in hidden, weight and bias; the logits are computed once more for them, which costs a third more of
    this layer than keeping them. Softmax and its gradient are in float32 whatever the layer's type.

    Args:
        hidden: [tokens, hidden size], of the weight's type.
        weight: [vocabulary, hidden size].
        targets: int64 [tokens].
        offset: [vocabulary], without gradient.
        chunk: at most so many logits are held at once (at least one row or column of them).
    """
    return _TokenLogprobs.apply(hidden, weight, bias, targets, offset, temperature, chunk)


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, offset: Tensor | None,
                temperature: float, chunk: int) -> tuple[Tensor, Tensor]:
        rows = max(1, chunk // len(weight))
        totals, chosen, entropies = [], [], []
        for part, tokens in zip(hidden.split(rows), targets.split(rows), strict=True):
            logits = _logits(part, weight, bias, offset, temperature)
            total = torch.logsumexp(logits, -1)
            totals.append(total)
            chosen.append(logits.gather(-1, tokens[:, None])[:, 0] - total)
            logits -= total[:, None]
            entropies.append(-(logits.exp() * logits).sum(-1))
        total, entropy = torch.cat(totals), torch.cat(entropies)
        ctx.save_for_backward(hidden, weight, bias, targets, offset, total, entropy)
        ctx.temperature, ctx.chunk = temperature, chunk
        ctx.set_materialize_grads(False)
        return torch.cat(chosen), entropy

    @staticmethod
    def backward(ctx: Any, by_logprob: Tensor | None, by_entropy: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, offset, total, entropy = ctx.saved_tensors
        wants_hidden, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        by_logprob = torch.zeros_like(total) if by_logprob is None else by_logprob
        # A part of the vocabulary at a time, so that each row of the weight's gradient is summed up in one product.
        columns = max(1, ctx.chunk // max(1, len(hidden)))
        to_hidden = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device) if wants_hidden else None
        to_weight = torch.empty_like(weight) if wants_weight else None
        to_bias = torch.empty_like(bias) if wants_bias else None
        for start in range(0, len(weight), columns):
            part = slice(start, min(start + columns, len(weight)))
            logp = _logits(hidden, weight[part], None if bias is None else bias[part], None if offset is None else offset[part],
                           ctx.temperature)
            logp -= total[:, None]
            by_logits = -by_logprob[:, None] * logp.exp() if by_entropy is None else (
                -logp.exp() * (by_logprob[:, None] + by_entropy[:, None] * (logp + entropy[:, None])))
            mine = ((targets >= part.start) & (targets < part.stop)).nonzero()[:, 0]
            by_logits[mine, targets[mine] - part.start] += by_logprob[mine]
            by_logits = (by_logits / ctx.temperature).to(weight.dtype)
            if to_hidden is not None:
                to_hidden += by_logits @ weight[part]
            if to_weight is not None:
                to_weight[part] = by_logits.T @ hidden
            if to_bias is not None:
                to_bias[part] = by_logits.sum(0)
        return None if to_hidden is None else to_hidden.to(hidden.dtype), to_weight, to_bias, None, None, None, None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, offset: Tensor | None, temperature: float) -> Tensor:
    logits = nn.functional.linear(hidden, weight, bias).float()
    if offset is not None:
        logits += offset
    return logits.div_(temperature)
