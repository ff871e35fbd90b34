"""What runs inside vLLM's engine process: reads new weights, and masks the tokens that no response may hold."""

from __future__ import annotations

import ctypes
import signal
from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor

from .window import Layout, look

FORBIDDEN_KEY = "forbidden_tokens"  # in vLLM's additional_config: list of token ids


class TokenMask(LogitsProcessor):
    """Gives forbidden tokens no chance, in every request. They are the engine's, so no request carries them."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        _die_with_parent()
        self.forbidden = torch.tensor(vllm_config.additional_config[FORBIDDEN_KEY], dtype=torch.long, device=device)

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        pass

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """logits [requests, vocabulary], changed in place."""
        return logits.index_fill_(-1, self.forbidden, -torch.inf)


def _die_with_parent() -> None:
    """Linux kills this process once its parent is gone: an engine whose actor was killed would keep its memory for ever."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class WeightReader:
    """vLLM mixes this class into its worker."""

    def read_file(self, path: str) -> None:
        """Loads the safetensors file `path` (the names of a Hugging Face checkpoint) over the present weights."""
        from safetensors.torch import load_file

        self.begin_weights()
        try:
            self.model_runner.get_model().load_weights(iter(load_file(path).items()))
        finally:
            self.end_weights()

    def begin_weights(self) -> None:
        """Before any `read_window`."""
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model_runner.get_model())

    def read_window(self, path: str, layout: Layout) -> None:
        """Loads what a `Window` shows; with others, each tensor of the model must come once."""
        self.model_runner.get_model().load_weights(look(path, layout, self.device))

    def end_weights(self) -> None:
        """After the last `read_window`, also where one failed."""
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        runner = self.model_runner
        finalize_layerwise_reload(runner.get_model(), runner.model_config)
        runner.reset_encoder_cache()
        runner.reset_mm_cache()
