"""What runs inside vLLM's engine process: reads new weights, and masks the tokens that no response may hold."""

from __future__ import annotations

import ctypes
import signal
from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as GpuLogitsProcessor

from actors.weights.process_group import CollectiveError, WeightGroup

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

    weights_group: WeightGroup | None = None

    def begin_weights(self) -> None:
        """Before any `read_weights` or `receive_weights`."""
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model_runner.get_model())

    def read_weights(self, path: str) -> None:
        """Loads the safetensors file `path`, some of the names of a Hugging Face checkpoint, over the present weights. Those of
        a layer that has not come whole stay mapped until it has."""
        from safetensors.torch import load_file

        self._load(load_file(path))

    def join_weights(self, address: str, port: int, first: int, names: list[str], limit_s: float) -> None:
        """Joins a group that weights come through, whose ranks from `first` on are this engine's processes; leaves the one before.

        Raises:
            CollectiveError: not all have come.
        """
        if self.weights_group is not None:
            self.weights_group.close()
        self.weights_group = WeightGroup(address, port, first + self.rank, names, self.device, limit_s)
        self.weights_group.join()

    def receive_weights(self) -> None:
        """Loads all buckets of a version, as `read_weights` does with a file, right from the group that was joined.

        Raises:
            CollectiveError: they did not come, or could not be loaded; the group is over.
        """
        try:
            while tensors := self.weights_group.receive():
                self._load(tensors)
        except CollectiveError:
            raise
        except Exception as error:
            raise self.weights_group.fail(f"{type(error).__name__}: {error}") from error

    def _load(self, tensors: dict[str, torch.Tensor]) -> None:
        self.model_runner.get_model().load_weights(iter(tensors.items()))

    def end_weights(self) -> None:
        """After the last of these, also where one failed."""
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        runner = self.model_runner
        finalize_layerwise_reload(runner.get_model(), runner.model_config)
        for module in runner.get_model().modules():
            # Where the head is the embedding, a CPU would go on with the copy of the old one that it packed.
            if isinstance(module, ParallelLMHead):
                module.quant_method.process_weights_after_loading(module)
        runner.reset_encoder_cache()
        runner.reset_mm_cache()
