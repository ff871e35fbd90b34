"""The output layer: log-probabilities and entropies of the next token without the [tokens × vocabulary] matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from actors.model.config import LOGITS_AT_ONCE, LOGITS_AT_ONCE_ON_GPU

WORDS_AT_ONCE = 128  # or a multiple of it: a GPU's fast kernels want rows of aligned length


class LogprobHead(nn.Linear):
    """An output layer that can also return log-probabilities.

    It is called as a module, so that ZeRO-3 gathers its weight.

    Attributes:
        cap: see `token_logprobs`; the model itself caps logits that it gets without targets.
    """

    cap: float | None = None

    def forward(
        self, hidden: Tensor, targets: Tensor | None = None, offset: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits; or, with `targets`, what `token_logprobs` returns."""
        if targets is None:
            return super().forward(hidden)
        return token_logprobs(hidden, self.weight, targets, offset, temperature, self.bias, cap=self.cap)


def token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    offset: Tensor | None = None,
    temperature: float = 1.0,
    bias: Tensor | None = None,
    chunk: int | None = None,
    cap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """log softmax((logits + offset) / temperature) at `targets`, and the entropies; logits: hidden @ weight.T + bias.

    Both have gradients in hidden, weight and bias. The backward computes the logits once more, which costs a third more
    time in this layer than keeping them. Softmax and its gradient are in float32 whatever the layer's type.

    Args:
        hidden: [tokens, hidden size], of the weight's type.
        weight: [vocabulary, hidden size].
        targets: int64 [tokens].
        offset: [vocabulary], without gradient.
        temperature: the logits are divided by it.
        bias: [vocabulary].
        chunk: maximum number of logits held at once (at least one column of them is); by default what suits the device.
        cap: the logits become cap × tanh(logits / cap).

    Returns:
        (log-probabilities, entropies), both float32 [tokens].
    """
    if chunk is None:
        chunk = LOGITS_AT_ONCE_ON_GPU if hidden.is_cuda else LOGITS_AT_ONCE
    return _TokenLogprobs.apply(hidden, weight, bias, targets, offset, temperature, cap, chunk)


class _TokenLogprobs(torch.autograd.Function):
    """Goes over the vocabulary in parts; the forward keeps a running softmax.

    Each row of the weight's gradient is one product.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        offset: Tensor | None,
        temperature: float,
        cap: float | None,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        peak = hidden.new_full((len(hidden),), -1e30, dtype=torch.float32)  # the largest logit so far
        mass = torch.zeros_like(peak)  # Σ exp(logit − peak)
        moment = torch.zeros_like(peak)  # Σ exp(logit − peak) (logit − peak)
        chosen = torch.zeros_like(peak)  # the target's logit
        for part, logits in _parts(hidden, weight, bias, cap, chunk):
            _tempered(logits, part, offset, temperature)
            inside, columns = _targets_in(part, targets)
            chosen = torch.where(inside, logits.gather(1, columns)[:, 0], chosen)
            new_peak = torch.maximum(peak, logits.amax(-1))
            shift = peak - new_peak
            moment += shift * mass
            mass *= shift.exp_()
            moment *= shift
            peak.copy_(new_peak)
            logits -= peak[:, None]
            weights = logits.exp()
            mass += weights.sum(-1)
            moment += weights.mul_(logits).sum(-1)
            del logits, weights
        total = peak + mass.log()
        entropy = mass.log() - moment / mass
        ctx.save_for_backward(hidden, weight, bias, targets, offset, total, entropy)
        ctx.temperature, ctx.cap, ctx.chunk = temperature, cap, chunk
        ctx.set_materialize_grads(False)
        return chosen - total, entropy

    @staticmethod
    def backward(ctx: Any, d_logprob: Tensor | None, d_entropy: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, offset, total, entropy = ctx.saved_tensors
        wants_hidden, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        d_logprob = torch.zeros_like(total) if d_logprob is None else d_logprob
        d_hidden = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device) if wants_hidden else None
        d_weight = torch.empty_like(weight) if wants_weight else None
        d_bias = torch.empty_like(bias) if wants_bias else None
        for part, logp in _parts(hidden, weight, bias, ctx.cap, ctx.chunk):
            slope = None if ctx.cap is None else 1 - (logp / ctx.cap).square_()  # of the capped logits
            _tempered(logp, part, offset, ctx.temperature).sub_(total[:, None])
            d_logits = logp.exp()
            # d log p(target) = [word = target] − p; d entropy = −p (log p + entropy)
            if d_entropy is None:
                d_logits *= -d_logprob[:, None]
            else:
                d_logits *= logp.add_(entropy[:, None]).mul_(-d_entropy[:, None]).sub_(d_logprob[:, None])
            inside, columns = _targets_in(part, targets)
            d_logits.scatter_add_(1, columns, (d_logprob * inside)[:, None])
            d_logits /= ctx.temperature
            if slope is not None:
                d_logits *= slope
            d_logits = d_logits.to(weight.dtype)
            if d_hidden is not None:
                d_hidden += d_logits @ weight[part]
            if d_weight is not None:
                torch.mm(d_logits.T, hidden, out=d_weight[part])
            if d_bias is not None:
                d_bias[part] = d_logits.sum(0)
            del logp, d_logits, slope
        if d_hidden is not None:
            d_hidden = d_hidden.to(hidden.dtype)
        return d_hidden, d_weight, d_bias, None, None, None, None, None


def _parts(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, cap: float | None, chunk: int
) -> Iterator[tuple[slice, Tensor]]:
    """Yields the logits of the vocabulary part by part, float32 [tokens, part]; the caller may overwrite them."""
    columns = max(1, chunk // max(1, len(hidden)))
    if columns > WORDS_AT_ONCE:
        columns -= columns % WORDS_AT_ONCE
    for start in range(0, len(weight), columns):
        part = slice(start, min(start + columns, len(weight)))
        part_bias = None if bias is None else bias[part]
        # No name here keeps the logits alive while the next ones are computed.
        yield part, _logits(hidden, weight[part], part_bias, cap)


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, cap: float | None) -> Tensor:
    """In float32 even if the weight is not, as the engine's: logits rounded to 16 bits differ by up to an eighth."""
    if weight.dtype == torch.float32:
        logits = nn.functional.linear(hidden, weight, bias)
    elif weight.is_cuda:
        logits = torch.mm(hidden, weight.T, out_dtype=torch.float32)
    else:
        logits = hidden.float() @ weight.T.float()
    if bias is not None and weight.dtype != torch.float32:
        logits += bias
    if cap is not None:
        logits.div_(cap).tanh_().mul_(cap)
    return logits


def _tempered(logits: Tensor, part: slice, offset: Tensor | None, temperature: float) -> Tensor:
    """(logits + offset) / temperature, in place."""
    if offset is not None:
        logits += offset[part]
    return logits.div_(temperature)


def _targets_in(part: slice, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(bool [tokens], whether a target is in a part of the vocabulary; int64 [tokens, 1], its column there, or any).

    Without the list of those inside: a GPU would have to be waited for to know its length.
    """
    inside = (targets >= part.start) & (targets < part.stop)
    return inside, (targets - part.start).clamp_(0, part.stop - part.start - 1)[:, None]
