"""The chunked output layer against the whole matrix in float64."""

import pytest
import torch

from actors.model.head import token_logprobs

TOKENS, HIDDEN, WORDS = 37, 16, 101


def parts(dtype):
    draw = torch.Generator().manual_seed(0)
    random = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype)  # noqa: E731
    offset = torch.zeros(WORDS)
    offset[[3, 50, 100]] = -1e9
    return (
        random(TOKENS, HIDDEN),
        random(WORDS, HIDDEN),
        random(WORDS),
        offset,
        torch.randint(WORDS, (TOKENS,), generator=draw),
    )


def whole(hidden, weight, bias, offset, targets, temperature, cap=None):
    logits = hidden.double() @ weight.double().T + (0 if bias is None else bias.double())
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    logp = torch.log_softmax((logits + (0 if offset is None else offset)) / temperature, -1)
    return logp[range(TOKENS), targets], -(logp.exp() * logp).sum(-1)


@pytest.mark.parametrize("chunk", [1, 700, 10**6])
@pytest.mark.parametrize("entropy_weight", [0.0, 0.4])
@pytest.mark.parametrize(
    "with_bias, with_offset, temperature, cap",
    [(True, False, 1.0, None), (False, True, 0.6, None), (True, True, 0.6, 3.0)],
)
def test_values_and_gradients_are_those_of_the_whole_matrix(
    chunk, entropy_weight, with_bias, with_offset, temperature, cap
):
    hidden, weight, bias, offset, targets = parts(torch.float32)
    targets[:3] = torch.tensor([3, 50, 7])  # two that may not be sampled
    results = []
    for way in (whole, token_logprobs):
        leaves = [tensor.clone().requires_grad_() for tensor in (hidden, weight, *[bias] * with_bias)]
        b, o = (leaves[2] if with_bias else None), (offset if with_offset else None)
        logp, entropy = (
            whole(*leaves[:2], b, o, targets, temperature, cap)
            if way is whole
            else token_logprobs(*leaves[:2], targets, o, temperature, b, chunk, cap)
        )
        loss = (logp * torch.linspace(-1, 1, TOKENS)).sum() + (
            entropy_weight * (entropy**2).sum() if entropy_weight else 0
        )
        loss.backward()
        results.append([logp, entropy, *(leaf.grad for leaf in leaves)])
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours.double(), theirs.double(), atol=2e-5, rtol=1e-5)


def test_half_precision_keeps_logits_and_softmax_in_float32():
    hidden, weight, _, _, targets = parts(torch.bfloat16)
    hidden.requires_grad_(), weight.requires_grad_()
    logp, entropy = token_logprobs(hidden, weight, targets, chunk=500)
    assert logp.dtype == entropy.dtype == torch.float32
    known = [tensor.detach().double().requires_grad_() for tensor in (hidden, weight)]
    wanted, _ = whole(*known, None, None, targets, 1.0)
    assert (logp - wanted).abs().max() < 1e-4  # logits rounded to bfloat16 would be apart by up to 0.1
    logp.sum().backward(), wanted.sum().backward()
    for ours, theirs in zip((hidden, weight), known, strict=True):
        assert ours.grad.dtype == torch.bfloat16
        assert (ours.grad - theirs.grad).norm() < 0.01 * theirs.grad.norm()


def test_a_frozen_layer_gets_no_gradient():
    hidden, weight, _, offset, targets = parts(torch.float32)
    hidden.requires_grad_()
    token_logprobs(hidden, weight, targets, offset)[0].sum().backward()
    assert weight.grad is None and hidden.grad.any()
