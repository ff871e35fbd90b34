"""What runs inside vLLM's engine process: reads new weights, and masks the tokens that no response may hold."""

from __future__ import annotations

import ctypes
import signal
from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as GpuLogitsProcessor

FORBIDDEN_KEY = "forbidden_tokens"  # in vLLM's additional_config: list of token ids


class TokenMask(LogitsProcessor, GpuLogitsProcessor):
    """Gives forbidden tokens no chance, in every request. They are the engine's, so no request carries them.

    It is a processor of both of vLLM's model runners: of that for CPUs, and of the second one ("V2"), which GPUs have by default
    and which refuses others than its own.
    """

    def __init__(self, vllm_config: Any, place: Any, *_: Any) -> None:
        """`place`: the device, or with the second runner the state of all requests, which names it."""
        _die_with_parent()
        device = place if isinstance(place, torch.device) else place.device
        self.forbidden = torch.tensor(vllm_config.additional_config[FORBIDDEN_KEY], dtype=torch.long, device=device)

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        pass

    def apply(self, logits: torch.Tensor, *_: Any) -> torch.Tensor:
        """logits [requests, vocabulary], changed in place."""
        return logits.index_fill_(-1, self.forbidden, -torch.inf)


def _die_with_parent() -> None:
    """Linux kills this process once its parent is gone: an engine whose actor was killed would keep its memory for ever."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class WeightReader:
    """vLLM mixes this class into its worker."""

    def read_weights(self, path: str) -> None:
        """Loads the safetensors file `path` (the names of a Hugging Face checkpoint) over the present weights."""
        from safetensors.torch import load_file
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

        self.model_runner.reload_weights(weights_iterator=iter(load_file(path).items()))
        for module in self.model_runner.get_model().modules():
            # Where the head is the embedding, a CPU would go on with the copy of the old one that it packed.
            if isinstance(module, ParallelLMHead):
                module.quant_method.process_weights_after_loading(module)
