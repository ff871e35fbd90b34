"""The images of a micro-batch, each read once however often it occurs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from actors.model.families import ModelFamily


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """The distinct images of a micro-batch, concatenated.

    Attributes:
        inputs: arguments of `get_image_features`, by name.
        tiles: for each image, the number of tiles that the processor made of it; of patches if it makes no tiles.
        order: for each occurrence of an image in the batch, in order, the index of the image.
    """

    inputs: dict[str, Tensor]
    tiles: tuple[int, ...]
    order: tuple[int, ...]

    def features(self, base: nn.Module) -> Any:
        """The features of each image, as `base` (the model below the head) computes them."""
        return base.get_image_features(**self.inputs, return_dict=True)

    def for_each_occurrence(self, features: Any) -> Any:
        """`features` repeated for every occurrence, in order: what the model takes as `mm_encoder_outputs["image"]`."""

        def repeat(values: Any) -> Any:
            """A tensor [tiles, tokens, width] stays a tensor; one tensor for each image stays a sequence."""
            if isinstance(values, Tensor):
                parts = values.split(self.tiles)
                return torch.cat([parts[image] for image in self.order])
            return tuple(values[image] for image in self.order)

        pooled, *deepstack = map(repeat, _levels(features))
        if deepstack:
            return type(features)(pooler_output=pooled, deepstack_features=deepstack)
        return type(features)(pooler_output=pooled)

    @staticmethod
    def sum(features: Any) -> Any:
        """A scalar that depends on every feature."""
        return sum(image.sum() for level in _levels(features) for image in level)


def _levels(features: Any) -> list[Any]:
    """The features that replace the placeholders, and those that Qwen3-VL adds in its first layers."""
    return [features.pooler_output, *(getattr(features, "deepstack_features", None) or [])]


def batch_images(
    family: ModelFamily,
    images: Sequence[Mapping[str, np.ndarray]],
    order: Sequence[int],
    device: torch.device | str,
) -> ImageBatch:
    """Concatenates images.

    Args:
        family: the model's family.
        images: the `pixels` of each distinct image's `EncodedImage`.
        order: see `ImageBatch`.
        device: where the tensors are put.
    """
    inputs = {}
    for name, axis in family.image_inputs.items():
        values = np.concatenate([image[name] for image in images], axis)
        inputs[name] = torch.as_tensor(values, device=device)
    if family.flat_tiles:
        inputs["pixel_values"] = inputs["pixel_values"].flatten(0, 1)
    tile_axis = family.image_inputs["pixel_values"]
    tiles = tuple(image["pixel_values"].shape[tile_axis] for image in images)
    return ImageBatch(inputs, tiles, tuple(order))
