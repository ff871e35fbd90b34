"""Low-rank adapters (LoRA, arXiv 2106.09685) by peft: put into the model, merged into its weights, exchanged for others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from actors.model.config import Lora
from actors.model.gather import gathered
from actors.model.model_parts import part_of

ADAPTER, BASE = "default", ".base_layer."  # peft's own names: of an only adapter, and of the layer that it was put on


def adapt(model: nn.Module, lora: Lora) -> None:
    """Gives every linear layer of the chosen parts an adapter, and takes the gradients from all else. At first an adapter changes
    nothing: of its two matrices, A is drawn (from torch's generator) and B is 0.

    Raises:
        ValueError: the model has no such part.
    """
    from peft import LoraConfig, inject_adapter_in_model

    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not model.get_output_embeddings()
    ]
    for part in lora.targets:
        if not any(part_of(name) == part for name in linear):
            raise ValueError(f"learner.lora.targets: this model has no linear layer in a part that is known as {part}")
    chosen = [name for name in linear if part_of(name) in lora.targets]
    # No dropout: the policy that is trained must be the one that is sampled from.
    inject_adapter_in_model(
        LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=chosen), model
    )
    dtype = next(model.parameters()).dtype
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_adapter(name))
        if is_adapter(name):
            parameter.data = parameter.data.to(dtype)  # DeepSpeed keeps the float32 copy


def is_adapter(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name


def adapted_layer(name: str) -> str:
    """What a weight and the adapter that is merged into it have in common; of other weights their name."""
    return name.partition(BASE)[0].partition(".lora_")[0]


@torch.no_grad()
def merged(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The model's `weights` by the names that they have without adapters, each with its adapter's share:
    W + (alpha / rank) B A, reckoned in float32. They must be gathered."""
    whole = {}
    for name, weight in weights.items():
        layer = model.get_submodule(name.rpartition(BASE)[0]) if name.endswith(f"{BASE}weight") else None
        if layer is not None:
            a, b = (side[ADAPTER].weight.float() for side in (layer.lora_A, layer.lora_B))
            weight = (weight.float() + layer.scaling[ADAPTER] * (b @ a)).to(weight.dtype)
        if not is_adapter(name):
            whole[name.replace(BASE, ".")] = weight
    return whole


def adapters(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all adapters, whole, on the CPU. Every rank takes part."""
    own = {name: p for name, p in model.named_parameters() if is_adapter(name)}
    with gathered(own.values()):
        return {name: p.detach().cpu().clone() for name, p in own.items()}


@contextmanager
def worn(model: nn.Module, others: Mapping[str, Tensor]) -> Iterator[None]:
    """The model with other adapters, as `adapters` gave them. Every rank takes part."""
    before = adapters(model)
    _wear(model, others)
    try:
        yield
    finally:
        _wear(model, before)


@torch.no_grad()
def _wear(model: nn.Module, others: Mapping[str, Tensor]) -> None:
    own = {name: p for name, p in model.named_parameters() if is_adapter(name)}
    with gathered(own.values(), changed=True):
        for name, parameter in own.items():
            parameter.data.copy_(others[name])
