"""What runs inside vLLM's engine process: it reads new weights, and masks the tokens that no response may contain.

If vLLM was started for adapters (`adapters`), a version consists of these alone.
"""

from __future__ import annotations

import ctypes
import signal
from typing import Any

import torch
import vllm.lora.model_manager
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as GpuLogitsProcessor

from actors.rollout.adapters import linear_layers, replace_adapters
from actors.weights.process_group import CollectiveError, WeightGroup

FORBIDDEN_KEY = "forbidden_tokens"  # in vLLM's additional_config: list of token ids
vllm.lora.model_manager.get_supported_lora_modules = linear_layers


class TokenMask(LogitsProcessor, GpuLogitsProcessor):
    """Gives forbidden tokens no chance, in every request. They belong to the engine, so no request carries them.

    It is a processor of both of vLLM's model runners: of the one for CPUs, and of the second one ("V2"), which is the
    default on GPUs and accepts only its own processors.
    """

    def __init__(self, vllm_config: Any, *_: Any) -> None:
        """The tokens stay on the CPU until the first logits come: the second runner makes its processors in the memory
        of the weights, which a sleeping engine gives away and gets back empty.
        """
        _die_with_parent()
        self.forbidden = torch.tensor(vllm_config.additional_config[FORBIDDEN_KEY], dtype=torch.long)

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        pass

    def apply(self, logits: torch.Tensor, *_: Any) -> torch.Tensor:
        """logits [requests, vocabulary], changed in place."""
        self.forbidden = self.forbidden.to(logits.device)
        return logits.index_fill_(-1, self.forbidden, -torch.inf)


def _die_with_parent() -> None:
    """Has Linux kill this process once its parent is gone: an engine whose actor was killed would keep its memory for
    ever.
    """
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class WeightReader:
    """vLLM mixes this class into its worker, which has the first three attributes."""

    model_runner: Any
    rank: int  # of this process in the engine
    device: torch.device
    weights_group: WeightGroup | None = None
    adapters: dict[str, torch.Tensor]  # those of the coming version that are here

    def begin_weights(self) -> None:
        """Must be called before any `read_weights` or `receive_weights`."""
        if self.model_runner.lora_config:
            self.adapters = {}
            return
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model_runner.get_model())

    def read_weights(self, path: str) -> None:
        """Loads a safetensors file, which has some of the version's weights.

        The weights of a layer that is not complete yet stay mapped until it is; adapters until the next version.
        """
        from safetensors.torch import load_file

        self._load(load_file(path))

    def join_weights(self, address: str, port: int, first: int, names: list[str], limit_s: float) -> None:
        """Joins a group that weights come through, and leaves the previous one.

        Args:
            first: the rank in the group of this engine's first process; the others follow.
            address, port, names, limit_s: as of `WeightGroup`.

        Raises:
            CollectiveError: not all members came.
        """
        if self.weights_group is not None:
            self.weights_group.close()
        self.weights_group = WeightGroup(address, port, first + self.rank, names, self.device, limit_s)
        self.weights_group.join()

    def receive_weights(self) -> None:
        """Loads all buckets of a version from the group that was joined.

        Raises:
            CollectiveError: they did not come, or could not be loaded; the group is over.
        """
        group = self.weights_group
        if group is None:
            raise CollectiveError("no group was joined")
        try:
            while tensors := group.receive():
                self._load(tensors)
        except CollectiveError:
            raise
        except Exception as error:
            raise group.fail(f"{type(error).__name__}: {error}") from error

    def _load(self, tensors: dict[str, torch.Tensor]) -> None:
        if self.model_runner.lora_config:
            self.adapters |= tensors
            return
        self.model_runner.get_model().load_weights(iter(tensors.items()))

    def end_weights(self) -> None:
        """Must be called after the last of these, also if one failed.

        Raises:
            ValueError: the engine has no layer for an adapter.
        """
        runner = self.model_runner
        if runner.lora_config:
            replace_adapters(runner.lora_manager, self.adapters)
        else:
            self._finish_layers()
        runner.reset_encoder_cache()
        runner.reset_mm_cache()

    def _finish_layers(self) -> None:
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        runner = self.model_runner
        finalize_layerwise_reload(runner.get_model(), runner.model_config)
        for module in runner.get_model().modules():
            # If the head is tied to the embedding, a CPU would go on with its packed copy of the old one.
            if isinstance(module, ParallelLMHead):
                module.quant_method.process_weights_after_loading(module)
