"""Adapters that an engine adds to the base weights as it computes (vLLM's LoRA), so that a version is these alone.

An engine has one set of adapters, and all of its requests ask for it by the same name. A new version takes the place
of the one before, so that responses which are being written go on with it. Nothing in vLLM's caches tells the two
apart: they must be emptied, as after new weights of any kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from actors.model.config import Lora

if TYPE_CHECKING:
    import torch

NAME, NUMBER = "policy", 1  # of the set, for vLLM
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # for which vLLM makes room


def adapter_arguments(lora: Lora) -> dict[str, Any]:
    """What vLLM's engine is told at its start so that it has room for adapters."""
    return dict(
        enable_lora=True,
        max_loras=1,
        max_lora_rank=min(rank for rank in RANKS if rank >= lora.rank),
        enable_tower_connector_lora=set(lora.targets) != {"language"},
    )


def adapter_request() -> Any:
    """vLLM's LoRARequest for the engine's adapters."""
    from vllm.lora.request import LoRARequest

    return LoRARequest(NAME, NUMBER, "none: they come with each version")


def linear_layers(model: torch.nn.Module) -> list[str]:
    """The last parts of the names of a model's linear layers. In the place of vLLM's `get_supported_lora_modules`, it
    keeps vLLM from adapters of embeddings and output layers, which no learner here has.
    """
    from vllm.model_executor.layers.linear import LinearBase

    return sorted({name.rpartition(".")[2] for name, layer in model.named_modules() if isinstance(layer, LinearBase)})


def replace_adapters(workers_manager: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Puts adapters in the place of those that an engine's process has.

    Args:
        workers_manager: vLLM's, of the model runner.
        tensors: A and B, as `unmerged` makes them. Without any, the present ones stay.

    Raises:
        ValueError: the engine has no layer for one of them.
    """
    from vllm.lora.lora_model import LoRAModel
    from vllm.lora.peft_helper import PEFTHelper

    if not tensors:
        return
    manager = workers_manager._adapter_manager
    rank = max(value.shape[0] for name, value in tensors.items() if ".lora_A." in name)
    names = getattr(manager.model, "hf_to_vllm_mapper", None)
    adapters = LoRAModel.from_lora_tensors(
        NUMBER,
        {f"base_model.model.{name}": value for name, value in tensors.items()},
        PEFTHelper(r=rank, lora_alpha=rank, target_modules=[]),  # B is scaled already
        device="cpu",
        dtype=manager.lora_config.lora_dtype,
        weights_mapper=names and names.get_rename_mapper(),
    )
    places: set[str] = set()
    for name in manager.modules:
        places.update(manager.packed_modules.get(name, [name]))
    lost = sorted(adapters.loras.keys() - places)
    if lost:
        raise ValueError(f"vLLM has no layer for {len(lost)} of {len(adapters.loras)} adapters, such as {lost[0]}")
    manager.remove_adapter(NUMBER)
    manager.add_adapter(adapters)
    manager.activate_adapter(NUMBER)
