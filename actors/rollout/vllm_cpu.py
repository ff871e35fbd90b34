"""vLLM's worker on a CPU, with kernels for the small layers, seeds drawn ahead, and adapters in plain products.

vLLM 0.32 ships these kernels in its CPU build and does not use them there: it computes norms, gates and rotations in
half a dozen PyTorch operators each, which cost a small model a fifth of its generation. What a kernel does not cover
is left to vLLM's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.model_executor.custom_op import CustomOp
from vllm.model_executor.layers.activation import SiluAndMul
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.layers.rotary_embedding.base import RotaryEmbedding
from vllm.model_executor.layers.rotary_embedding.mrope import MRotaryEmbedding
from vllm.platforms.cpu import CpuPlatform
from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler, apply_top_k_top_p
from vllm.v1.worker.cpu_worker import CPUWorker


class KernelRMSNorm(RMSNorm):
    def forward_cpu(self, x: Tensor, residual: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """The norm of x. With `residual`, the norm of their sum, and the sum, both in place, as the kernels for GPUs
        do.
        """
        plain = self.has_weight and self.variance_size_override is None and self.weight.dtype == x.dtype
        if not plain or not x.is_contiguous() or not (residual is None or residual.is_contiguous()):
            return super().forward_native(x, residual)
        if residual is None:
            out = torch.empty_like(x)
            torch.ops._C.rms_norm(out, x, self.weight.data, self.variance_epsilon)
            return out
        torch.ops._C.fused_add_rms_norm(x, residual, self.weight.data, self.variance_epsilon)
        return x, residual


class KernelSiluAndMul(SiluAndMul):
    def forward_cpu(self, x: Tensor) -> Tensor:
        if not x.is_contiguous():
            return super().forward_native(x)
        out = x.new_empty(*x.shape[:-1], x.shape[-1] // 2)
        torch.ops._C.silu_and_mul(out, x)
        return out


class KernelMRotaryEmbedding(MRotaryEmbedding):
    def forward_cpu(
        self, positions: Tensor, query: Tensor, key: Tensor | None = None, offsets: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """If time, row and column are the same number, as in all text, the rotation is the ordinary one."""
        if positions.ndim == 2:
            if offsets is not None or not all(torch.equal(positions[0], other) for other in positions[1:]):
                return super().forward_native(positions, query, key, offsets)
            positions = positions[0]
        return RotaryEmbedding.forward_cpu(self, positions, query, key)


KERNELS = {"RMSNorm": KernelRMSNorm, "SiluAndMul": KernelSiluAndMul, "MRotaryEmbedding": KernelMRotaryEmbedding}


class SeedsAhead(TopKTopPSampler):
    """As vLLM samples on a CPU, bit for bit: noise from one seed a token, which the request's generator gives. But
    these are drawn 64 at a time; asking each generator for each token took a fourteenth of a small model's generation.
    """

    COUNT = 64

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.drawn: WeakKeyDictionary[torch.Generator, Iterator[int]] = WeakKeyDictionary()

    def forward_cpu(
        self, logits: Tensor, generators: dict[int, torch.Generator], k: Tensor | None, p: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The tokens [requests], and of `logits` [requests, vocabulary] what `logprobs_mode` wants to keep."""
        if self.use_fp64_gumbel:
            return super().forward_cpu(logits, generators, k, p)
        logits = apply_top_k_top_p(logits, k, p)
        kept: Tensor | None = None
        if self.logprobs_mode == "processed_logits":
            kept = logits
        elif self.logprobs_mode == "processed_logprobs":
            kept = logits.log_softmax(-1, dtype=torch.float32)
        seeds = self._draw(len(logits), None)
        if generators:
            seeds[list(generators)] = torch.tensor([self._next(generator) for generator in generators.values()])
        return torch.ops._C.fused_gumbel_argmax(logits.float(), seeds), kept

    def _next(self, generator: torch.Generator) -> int:
        """The next of a generator's seeds that were drawn ahead."""
        seed = next(self.drawn.get(generator, iter(())), None)
        if seed is None:
            drawn: Iterator[int] = iter(self._draw(self.COUNT, generator).tolist())
            self.drawn[generator] = drawn
            seed = next(drawn)
        return seed

    @staticmethod
    def _draw(count: int, generator: torch.Generator | None) -> Tensor:
        return torch.randint(0, 2**31, (count,), generator=generator, dtype=torch.long)


class OnlyAdapters(PunicaWrapperCPU):
    """Adapters where all requests have the same. vLLM's own way on a CPU copies the matrices for every token."""

    in_use = False

    def update_metadata(self, mapping: Any, *_: Any, **__: Any) -> None:
        self.in_use = any(number > 0 for number in mapping.prompt_mapping)

    def add_lora_linear(
        self,
        y: Tensor,
        x: Tensor,
        lora_a_stacked: tuple[Tensor, ...],
        lora_b_stacked: tuple[Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **_: Any,
    ) -> None:
        """y += x A^T B^T, slice by slice.

        Args:
            y: [tokens, outputs], changed in place; slices of it lie side by side.
            x: [tokens, inputs].
            lora_a_stacked: of each slice [1, 1, rank, inputs].
            lora_b_stacked: of each slice [1, 1, outputs of the slice, rank].
            output_slices: how many outputs each has.
        """
        if not self.in_use:
            return
        x, y = x.view(-1, x.shape[-1]), y.view(-1, y.shape[-1])
        parts = y.split(output_slices, dim=1)
        for part, a, b in zip(parts, lora_a_stacked, lora_b_stacked, strict=True):
            part.addmm_(x @ a[0, 0].T, b[0, 0].T, alpha=scale)


class CpuWorker(CPUWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        CpuPlatform.get_punica_wrapper = classmethod(lambda _: f"{__name__}.{OnlyAdapters.__name__}")
        for name, layer in KERNELS.items():
            CustomOp.register_oot(layer, name=name)
        super().__init__(*args, **kwargs)

    def init_device(self) -> None:
        super().init_device()
        sampler = self.model_runner.sampler
        plain = sampler.topk_topp_sampler
        sampler.topk_topp_sampler = SeedsAhead(plain.logprobs_mode, plain.use_fp64_gumbel)
