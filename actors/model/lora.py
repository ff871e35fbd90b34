"""Low-rank adapters (LoRA, arXiv 2106.09685) by peft: added to a model, merged into its weights, sent, exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from actors.model.config import Lora
from actors.model.gather import gathered
from actors.model.model_parts import part_of

ADAPTER = "default"  # peft's name of a model's only adapter
BASE = ".base_layer."  # peft's name of the layer under an adapter


def adapt(model: nn.Module, lora: Lora) -> None:
    """Gives every linear layer of the chosen parts an adapter, and freezes everything else.

    At first an adapter changes nothing: of its two matrices, A is drawn (from torch's generator) and B is 0.

    Raises:
        ValueError: a part has no linear layer in this model.
    """
    from peft import LoraConfig, inject_adapter_in_model

    linear = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module is not model.get_output_embeddings():
            linear.append(name)
    for part in lora.targets:
        if not any(part_of(name) == part for name in linear):
            raise ValueError(f"learner.lora.targets: this model has no linear layer in a part that is known as {part}")
    chosen = [name for name in linear if part_of(name) in lora.targets]
    # No dropout: the policy that is trained must be the one that is sampled from.
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=chosen)
    inject_adapter_in_model(config, model)
    dtype = next(model.parameters()).dtype
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_adapter(name))
        if is_adapter(name):
            parameter.data = parameter.data.to(dtype)  # DeepSpeed keeps the float32 copy


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name belongs to an adapter."""
    return ".lora_A." in name or ".lora_B." in name


def adapted_layer(name: str) -> str:
    """The same for a weight and for the adapter that is merged into it; the name itself for other weights."""
    return name.partition(BASE)[0].partition(".lora_")[0]


@torch.no_grad()
def merged(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` with their adapters merged: W + (alpha / rank) B A, computed in float32.

    Args:
        model: the model that the weights belong to.
        weights: some of its weights, by name; they must be gathered.

    Returns:
        The weights by the names that they have in a model without adapters.
    """
    plain = {}
    for name, weight in weights.items():
        if is_adapter(name):
            continue
        if name.endswith(f"{BASE}weight"):
            layer = model.get_submodule(name.rpartition(BASE)[0])
            a = layer.lora_A[ADAPTER].weight.float()
            b = layer.lora_B[ADAPTER].weight.float()
            weight = (weight.float() + layer.scaling[ADAPTER] * (b @ a)).to(weight.dtype)
        plain[name.replace(BASE, ".")] = weight
    return plain


@torch.no_grad()
def unmerged(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The adapters among `weights` as engines take them, which know no alpha: A, and (alpha / rank) B.

    Args:
        model, weights: as of `merged`.

    Returns:
        A [rank, inputs] as `….lora_A.weight` and B [outputs, rank] as `….lora_B.weight`, by the layers' names in a
        model without adapters.
    """
    plain = {}
    for name, weight in weights.items():
        if not is_adapter(name):
            continue
        if ".lora_B." in name:
            scaling = model.get_submodule(adapted_layer(name)).scaling[ADAPTER]
            weight = (scaling * weight.float()).to(weight.dtype)
        plain[name.replace(f".{ADAPTER}.", ".")] = weight
    return plain


def adapters(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all adapters, gathered, on the CPU. Every rank must take part."""
    own = _adapter_parameters(model)
    with gathered(own.values()):
        return {name: p.detach().cpu().clone() for name, p in own.items()}


@contextmanager
def adapters_applied(model: nn.Module, others: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside the `with` block the model has other adapters, as `adapters` gave them. Every rank must take part."""
    own = adapters(model)
    _copy_adapters(model, others)
    try:
        yield
    finally:
        _copy_adapters(model, own)


def _adapter_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if is_adapter(name)}


@torch.no_grad()
def _copy_adapters(model: nn.Module, others: Mapping[str, Tensor]) -> None:
    own = _adapter_parameters(model)
    with gathered(own.values(), changed=True):
        for name, parameter in own.items():
            parameter.data.copy_(others[name])
