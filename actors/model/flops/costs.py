"""The floating-point operations of a forward and a backward pass, from a model's own layers.

Counted as in PaLM (Chowdhery et al., 2022, appendix B) and Megatron-LM (Narayanan et al., 2021, appendix): matrix
products alone; an addition and a multiplication are one operation each. A layer takes 2 for each weight and token; its
backward pass takes as much for the gradient of its input, and as much for that of its weights. Attention takes
4 × heads × head size for each pair of a query and a key, and twice as much backward. Both papers count all pairs of a
sequence; here only those that causal masks, segments and windows let through.

What is frozen has no gradient of its weights, and none of its input if nothing below it is trained. What the backward
pass computes again, because activations and logits are not kept, is told apart. Left out are norms, softmax, rotations,
the recurrence of linear attention, and the optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from actors.model.families import ModelFamily
from actors.model.flops.amounts import Amounts, Window
from actors.model.model_parts import Part, part_of

BASE = ".base_layer"  # peft's name of the layer under an adapter
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Flops:
    """Operations of a forward pass, of the backward pass, and those that the latter does `again`."""

    forward: float = 0.0
    backward: float = 0.0
    again: float = 0.0

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.forward + other.forward, self.backward + other.backward, self.again + other.again)

    def __mul__(self, count: float) -> Flops:
        return Flops(self.forward * count, self.backward * count, self.again * count)


@dataclass(frozen=True)
class ModelCosts:
    """What a model costs, for each unit of `Amounts`."""

    token: Flops
    pair: Flops
    word: Flops
    patch: Flops
    patch_pair: Flops

    def of(self, amounts: Amounts) -> Flops:
        """Of a forward and a backward pass over `amounts`."""
        text = self.token * amounts.tokens + self.pair * amounts.pairs + self.word * amounts.words
        return text + self.patch * amounts.patches + self.patch_pair * amounts.patch_pairs


def model_costs(model: Any, family: ModelFamily, checkpointing: bool = False) -> ModelCosts:
    """The costs of a transformers model with an output layer, as its parameters are trained or frozen at present.

    Args:
        model: may be on the meta device, or sharded by ZeRO-3.
        checkpointing: whether the backward pass computes each layer's activations again.
    """
    merged = family.largest_image(model.config, ()).patches if family.largest_image else 1
    token = pair = patch = Flops()
    tower_learns = flows = False
    products = list(_products(model))
    for number, product in enumerate(products):
        flows = product.flows
        cost = product.cost
        # A layer's last product is not computed again, since nothing of the layer needs its result.
        last = number + 1 == len(products) or products[number + 1].within != product.within
        if checkpointing and flows and product.within and not last:
            cost = replace(cost, again=cost.forward)
        if product.part == "language":
            token += cost
            pair += _attention(product.attends, flows, checkpointing)
        elif product.part == "projector":
            patch += cost * (1 / merged)
        elif product.part == "vision":
            patch += cost
            tower_learns |= flows
    head = model.get_output_embeddings()
    word = _product(_weights(head), head.weight.requires_grad, flows)
    return ModelCosts(
        token=token,
        pair=pair,
        word=replace(word, again=word.forward),
        patch=patch,
        patch_pair=_attention(_tower_width(getattr(model.config, "vision_config", None)), tower_learns, checkpointing),
    )


class _Product(NamedTuple):
    """A layer that is a matrix product.

    Attributes:
        part: of the model; None if no task reaches it.
        attends: heads × head size of the attention whose output it takes; 0 if that is no language layer's.
        flows: whether it, or anything below it, is trained.
        within: name of the layer that it is in, of which checkpointing keeps the input alone; "" if it is in none.
    """

    part: Part | None
    attends: int
    cost: Flops
    flows: bool
    within: str


def _products(model: Any) -> Iterator[_Product]:
    """The layers below the output layer, in the order of the forward pass."""
    flows = False
    within = ""
    for name, module in model.base_model.named_modules():
        if isinstance(module, GradientCheckpointingLayer):
            within = name
        elif not name.startswith(f"{within}."):
            within = ""
        trained = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        cost = _product(_weights(module), trained, flows)
        flows = flows or trained
        if cost.forward:
            part: Part | None = part_of(name)
            if part == "vision" and isinstance(module, CONVOLUTIONS) and "patch" not in name:
                part = "projector"  # it joins patches
            after_attention = part == "language" and name.removesuffix(BASE).endswith("o_proj")
            yield _Product(part, module.in_features if after_attention else 0, cost, flows, within)


def _product(weights: int, trained: bool, flows: bool) -> Flops:
    return Flops(2.0 * weights, 2.0 * weights * (trained + flows))


def _weights(module: nn.Module) -> int:
    """Weights of a matrix product, by the layer's sizes: ZeRO-3 takes the weights themselves away."""
    if isinstance(module, nn.Linear):
        return module.in_features * module.out_features
    if isinstance(module, CONVOLUTIONS):
        return module.in_channels * module.out_channels * math.prod(module.kernel_size) // module.groups
    return 0


def _attention(width: int, learns: bool, checkpointing: bool) -> Flops:
    """Of one pair; `width` is heads × head size. `learns`: whether it has a backward pass."""
    forward = 4.0 * width
    return Flops(forward, 2 * forward * learns, forward * (learns and checkpointing))


def _tower_width(vision: Any) -> int:
    if vision is None:
        return 0
    width: int = getattr(vision, "embed_dim", None) or vision.hidden_size
    return width * (getattr(vision, "depth", 0) or vision.num_hidden_layers)


def windows_of(config: Any) -> list[Window]:
    """The window of each language layer with attention, from the language model's configuration."""
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    windows = {"full_attention": None, "sliding_attention": getattr(config, "sliding_window", None)}
    return [windows[kind] for kind in kinds if kind in windows]
