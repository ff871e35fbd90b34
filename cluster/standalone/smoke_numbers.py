"""The checks of `curlvpr smoke` that compare numbers: attention, packed samples, and the engine's log-probabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from cluster.standalone.smoke_context import Context, check_error

if TYPE_CHECKING:
    import torch

    from actors.model.packing import Segments

HEAD_SIZES = (32, 72, 80, 128)  # the tiny model's, Qwen3-VL's and Qwen2.5-VL's vision, the text of both


def attention(context: Context) -> str:
    """Packed and windowed attention and their gradients, by head size, against a full matrix in float64."""
    import torch

    from actors.model.packing import Segments

    rng = torch.Generator().manual_seed(0)
    segments = Segments((70, 19, 130, 21, 5), (None, 0, 0, None, 3))
    worst = max(_attention_error(context, segments, size, rng) for size in HEAD_SIZES)
    limit = 1e-5 if context.dtype == "float32" else 0.03
    return check_error("largest error over largest value", worst, limit)


def _attention_error(context: Context, segments: Segments, size: int, rng: torch.Generator) -> float:
    """The largest error of both kinds of attention for one head size, relative to the largest right value."""
    import torch

    from actors.model.attention import RowSegments, packed_attention, window_attention

    dtype = getattr(torch, context.dtype)
    borders = np.cumsum((0, *segments.lengths))
    windows = torch.as_tensor(borders, dtype=torch.int32, device=context.device)
    length, scale = int(borders[-1]), size**-0.5
    inputs = [torch.randn((1, heads, length, size), generator=rng).to(dtype) for heads in (4, 2, 2)]
    weight = torch.randn(1, length, 4, size, generator=rng).to(dtype)
    packed_mask, window_mask = _masks(segments)

    def results(device: torch.device, dtype: torch.dtype, attend: Callable[..., torch.Tensor]) -> list[torch.Tensor]:
        """Output and gradients, in float64 on the CPU."""
        q, k, v = (part.to(device, dtype, copy=True).requires_grad_() for part in inputs)
        out = attend(q, k, v)
        (out * weight.to(device, dtype)).sum().backward()
        return [part.detach().cpu().double() for part in (out, q.grad, k.grad, v.grad)]

    def packed(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return packed_attention(None, q, k, v, None, scale, RowSegments(segments, context.device))[0]

    def windowed(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        return window_attention(None, q, k, v, None, scale, windows, max(segments.lengths))[0]

    def masked(mask: torch.Tensor) -> Callable[..., torch.Tensor]:
        def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
            scores = (q @ k.mT * scale).masked_fill(~mask, -torch.inf)
            return (scores.softmax(-1) @ v).transpose(1, 2)

        return attend

    worst = 0.0
    for attend, mask in ((packed, packed_mask), (windowed, window_mask)):
        values = results(context.device, dtype, attend)
        references = results(torch.device("cpu"), torch.float64, masked(mask))
        for value, reference in zip(values, references, strict=True):
            worst = max(worst, float((value - reference).abs().max() / reference.abs().max()))
    return worst


def _masks(segments: Segments) -> tuple[torch.Tensor, torch.Tensor]:
    """Which keys (columns) each query (row) attends to: packed, causal and with the shared prompt; and in windows."""
    import torch

    borders = np.cumsum((0, *segments.lengths))
    packed, window = torch.zeros(2, borders[-1], borders[-1], dtype=torch.bool)
    for start, end, prompt in zip(borders[:-1], borders[1:], segments.prompts, strict=True):
        packed[start:end, start:end] = torch.ones(end - start, end - start).tril()
        window[start:end, start:end] = True
        if prompt is not None:
            packed[start:end, borders[prompt] : borders[prompt + 1]] = True
    return packed, window


def packing(context: Context) -> str:
    """The learner's log-probabilities and gradient with packed samples, against padded ones in float32 on the CPU.

    In half precision the limit is 1.5 times the error that padded samples have on this device.
    """
    import torch

    reference = _learner_numbers(context, "float32", False, torch.device("cpu"))

    def errors(dtype: str, packed: bool) -> tuple[float, float]:
        logprobs, gradient = _learner_numbers(context, dtype, packed, context.device)
        return (
            float((logprobs - reference[0]).abs().mean()),
            float((gradient - reference[1]).norm() / reference[1].norm()),
        )

    limits = (1e-5, 1e-4)
    if context.dtype != "float32":
        padded = errors(context.dtype, False)
        limits = (1.5 * padded[0], 1.5 * padded[1])
    logprob_error, gradient_error = errors(context.dtype, True)
    return (
        f"{check_error('mean log-probability off by', logprob_error, limits[0])}, "
        f"{check_error('gradient by', gradient_error, limits[1])}"
    )


def _learner_numbers(
    context: Context, dtype: str, packed: bool, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of all responses, and the gradient of their mean, flat in float32 on the CPU."""
    import torch

    samples = context.samples
    tokens = sum(len(sample.response_ids) for sample in samples)
    policy = context.policy(dtype, packed, device)
    logprobs = [torch.zeros(0)] * len(samples)
    for index in policy.cut(samples, range(len(samples)), 2048):
        batch = policy.collate(samples, index, device)
        logp, _ = policy(batch, 1.0)
        (logp.sum() / tokens).backward()
        for number, values in zip(batch.index, logp.detach().cpu().split(batch.lengths), strict=True):
            logprobs[number] = values
    return torch.cat(logprobs), torch.cat([p.grad.float().cpu().flatten() for p in policy.parameters()])


def engine(context: Context) -> str:
    """vLLM's log-probabilities, for one film and for two, against the learner's in float32 on the CPU.

    In half precision the limit is three times the error that the learner has with it.
    """
    import torch

    from actors.rollout.config import RolloutConfig
    from actors.rollout.vllm_engine import VllmEngine

    samples = context.samples[::3]

    def learner_logprobs(dtype: str, device: torch.device) -> list[np.ndarray]:
        policy = context.policy(dtype, False, device)
        with torch.no_grad():
            return [
                policy(policy.collate(samples, [number], device), 1.0, raw=True)[0].cpu().numpy()
                for number in range(len(samples))
            ]

    reference = learner_logprobs("float32", torch.device("cpu"))
    limit = 1e-4
    if context.dtype != "float32":
        half = learner_logprobs(context.dtype, context.device)
        limit = 3 * max(float(np.abs(a - b).max()) for a, b in zip(half, reference, strict=True))
    config = RolloutConfig(
        gpus=float(context.gpu), dtype=context.dtype, max_model_tokens=512, gpu_memory=0.5, threads=2
    )

    async def engine_error() -> float:
        vllm = VllmEngine(config, str(context.model), context.encoder, 2)
        try:
            return (await vllm.compare(list(zip(context.tasks, samples, reference, strict=True)))).largest
        finally:
            vllm.llm.shutdown()
            vllm.llm.shutdown = _do_nothing  # vLLM calls it again when Python ends, and complains then

    return check_error("largest difference of a log-probability", asyncio.run(engine_error()), limit)


def _do_nothing() -> None:
    pass
