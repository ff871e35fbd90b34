"""The output layer: log-probabilities and entropies of the next token without the matrix of [tokens × vocabulary]."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from actors.model.config import LOGITS_AT_ONCE


class LogprobHead(nn.Linear):
    """An output layer that can be asked for log-probabilities. Called as a module, so that ZeRO-3 gathers its weight."""

    def forward(
        self, hidden: Tensor, targets: Tensor | None = None, offset: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits; or, with `targets`, what `token_logprobs` gives."""
        if targets is None:
            return super().forward(hidden)
        return token_logprobs(hidden, self.weight, targets, offset, temperature, self.bias)


def token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    offset: Tensor | None = None,
    temperature: float = 1.0,
    bias: Tensor | None = None,
    chunk: int = LOGITS_AT_ONCE,
) -> tuple[Tensor, Tensor]:
    """log softmax((hidden @ weight.T + bias + offset) / temperature) at `targets`, and the entropies, both float32 [tokens].

    Both have gradients in hidden, weight and bias; the logits are computed once more for them, which costs a third more of
    this layer than keeping them. Softmax and its gradient are in float32 whatever the layer's type.

    Args:
        hidden: [tokens, hidden size], of the weight's type.
        weight: [vocabulary, hidden size].
        targets: int64 [tokens].
        offset: [vocabulary], without gradient.
        chunk: at most so many logits are held at once (or one column of them).
    """
    return _TokenLogprobs.apply(hidden, weight, bias, targets, offset, temperature, chunk)


class _TokenLogprobs(torch.autograd.Function):
    """Goes over the vocabulary in parts, forward with a running softmax; each row of the weight's gradient is one product."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        offset: Tensor | None,
        temperature: float,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        most = hidden.new_full((len(hidden),), -1e30, dtype=torch.float32)  # the largest logit so far
        mass, moment, chosen = (
            torch.zeros_like(most) for _ in range(3)
        )  # Σ exp(logit − most), Σ exp(…) (logit − most)
        for part, logits in _parts(hidden, weight, bias, offset, temperature, chunk):
            mine, column = _targets_in(part, targets)
            chosen[mine] = logits[mine, column]
            largest = torch.maximum(most, logits.amax(-1))
            shift = most - largest
            moment += shift * mass
            mass *= shift.exp_()
            moment *= shift
            most.copy_(largest)
            logits -= most[:, None]
            weights = logits.exp()
            mass += weights.sum(-1)
            moment += weights.mul_(logits).sum(-1)
            del logits, weights
        total = most + mass.log()
        entropy = mass.log() - moment / mass
        ctx.save_for_backward(hidden, weight, bias, targets, offset, total, entropy)
        ctx.temperature, ctx.chunk = temperature, chunk
        ctx.set_materialize_grads(False)
        return chosen - total, entropy

    @staticmethod
    def backward(ctx: Any, by_logprob: Tensor | None, by_entropy: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, offset, total, entropy = ctx.saved_tensors
        wants_hidden, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        by_logprob = torch.zeros_like(total) if by_logprob is None else by_logprob
        to_hidden = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device) if wants_hidden else None
        to_weight = torch.empty_like(weight) if wants_weight else None
        to_bias = torch.empty_like(bias) if wants_bias else None
        for part, logp in _parts(hidden, weight, bias, offset, ctx.temperature, ctx.chunk):
            logp -= total[:, None]
            by_logits = logp.exp()
            # d log p(target) = [word = target] − p; d entropy = −p (log p + entropy)
            by_logits *= (
                -by_logprob[:, None]
                if by_entropy is None
                else (logp.add_(entropy[:, None]).mul_(-by_entropy[:, None]).sub_(by_logprob[:, None]))
            )
            mine, column = _targets_in(part, targets)
            by_logits[mine, column] += by_logprob[mine]
            by_logits = by_logits.div_(ctx.temperature).to(weight.dtype)
            if to_hidden is not None:
                to_hidden += by_logits @ weight[part]
            if to_weight is not None:
                torch.mm(by_logits.T, hidden, out=to_weight[part])
            if to_bias is not None:
                to_bias[part] = by_logits.sum(0)
            del logp, by_logits
        return None if to_hidden is None else to_hidden.to(hidden.dtype), to_weight, to_bias, None, None, None, None


def _parts(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, offset: Tensor | None, temperature: float, chunk: int
) -> Iterator[tuple[slice, Tensor]]:
    """The logits of a part of the vocabulary at a time, float32 [tokens, part], to be worked in."""
    columns = max(1, chunk // max(1, len(hidden)))
    for start in range(0, len(weight), columns):
        part = slice(start, min(start + columns, len(weight)))
        yield (
            part,
            _logits(
                hidden,
                weight[part],
                None if bias is None else bias[part],
                None if offset is None else offset[part],
                temperature,
            ),
        )  # no name holds it here while the next one is made


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, offset: Tensor | None, temperature: float) -> Tensor:
    logits = nn.functional.linear(hidden, weight, bias).float()
    if offset is not None:
        logits += offset
    return logits.div_(temperature)


def _targets_in(part: slice, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens' targets are in a part of the vocabulary, and their columns there."""
    mine = ((targets >= part.start) & (targets < part.stop)).nonzero()[:, 0]
    return mine, targets[mine] - part.start
