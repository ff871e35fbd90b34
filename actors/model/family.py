"""The families of models that can be trained, and what differs between them; everything else is common.

What a family's model makes of images comes from transformers' own `get_image_features` and is handed back to the model as
`mm_encoder_outputs`, so that an image that several responses share is read once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn


class UnsupportedModel(ValueError):
    """A model folder of no family that can be trained. One line: which it is, and which could be."""


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        inputs: what the image processor makes of an image that `get_image_features` takes, each with the axis along which
            images are put side by side; none where the model reads text alone.
        flat: whether `get_image_features` wants tiles in one row, without the processor's axis of samples.
        windows: whether the tower reads all images in one row, each in windows of attention.
        bidirectional: whether the tokens of an image attend to each other in both directions (`token_type_ids`).
    """

    inputs: Mapping[str, int] = field(default_factory=dict)
    flat: bool = False
    windows: bool = False
    bidirectional: bool = False

    @property
    def sees(self) -> bool:
        return bool(self.inputs)

    def packs(self, config: Any) -> bool:
        """Whether samples of a model with this configuration may be packed: its attention is causal and knows no other mask."""
        layers = getattr(config.get_text_config(), "layer_types", None) or ()
        return not self.bidirectional and "sliding_attention" not in layers

    def kind(self) -> Any:
        """transformers' own class for such models."""
        from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

        return AutoModelForImageTextToText if self.sees else AutoModelForCausalLM

    def load(self, folder: str | Path, dtype: Any) -> Any:
        return self.kind().from_pretrained(folder, dtype=dtype, use_safetensors=True, trust_remote_code=False)


_TEXT = Family()
_QWEN = Family({"pixel_values": 0, "image_grid_thw": 0}, windows=True)
_IDEFICS = Family({"pixel_values": 1, "pixel_attention_mask": 1})
FAMILIES: Mapping[str, Family] = {  # by `model_type` of config.json; where their parts are is told by `model_parts`
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": _QWEN,
    "qwen3_vl": _QWEN,
    "idefics3": _IDEFICS,
    "smolvlm": _IDEFICS,
    "llava_onevision": Family({"pixel_values": 1, "image_sizes": 0}, flat=True),
    "gemma3": Family({"pixel_values": 0}, bidirectional=True),
    "qwen2": _TEXT,
    "qwen3": _TEXT,
    "llama": _TEXT,
}


def family_of(model_type: str) -> Family:
    """Raises UnsupportedModel."""
    if model_type not in FAMILIES:
        raise UnsupportedModel(
            f"a model of type {model_type!r} cannot be trained; those of type {', '.join(FAMILIES)} can"
        )
    return FAMILIES[model_type]


@dataclass(frozen=True, slots=True)
class Images:
    """The different images of a micro-batch, side by side.

    Attributes:
        inputs: arguments of `get_image_features`, by name.
        tiles: of each image, how many the processor made of it; patches where it makes no tiles.
        of: for each place in the batch where an image stands, in order, which image it is.
    """

    inputs: dict[str, Tensor]
    tiles: tuple[int, ...]
    of: tuple[int, ...]

    def read(self, base: nn.Module) -> Any:
        """The features of each image, as `base`, the model below the head, gives them."""
        return base.get_image_features(**self.inputs, return_dict=True)

    def placed(self, read: Any) -> Any:
        """What the model takes for `read` as `mm_encoder_outputs["image"]`: the features of every place's image, in order."""
        import torch

        def places(values: Any) -> Any:
            """A tensor [tiles, tokens, width] stays one; what comes as a tensor for each image stays so."""
            if isinstance(values, torch.Tensor):
                parts = values.split(self.tiles)
                return torch.cat([parts[image] for image in self.of])
            return tuple(values[image] for image in self.of)

        pooled, *deep = map(places, _features(read))
        return type(read)(pooler_output=pooled, **({"deepstack_features": deep} if deep else {}))

    @staticmethod
    def total(read: Any) -> Tensor:
        """A number that depends on every feature."""
        return sum(part.sum() for features in _features(read) for part in features)


def _features(read: Any) -> list[Any]:
    """Those that stand in the placeholders, and those that Qwen3-VL adds in its first layers."""
    return [read.pooler_output, *(getattr(read, "deepstack_features", None) or [])]


def side_by_side(family: Family, films: Sequence[Mapping[str, np.ndarray]], of: Sequence[int], device: Any) -> Images:
    """Args:
    films: what `Encoder.film` gives for each different image.
    of: see `Images`.
    """
    import torch

    inputs = {
        name: torch.as_tensor(np.concatenate([film[name] for film in films], axis), device=device)
        for name, axis in family.inputs.items()
    }
    if family.flat:
        inputs["pixel_values"] = inputs["pixel_values"].flatten(0, 1)
    axis = family.inputs["pixel_values"]
    return Images(inputs, tuple(film["pixel_values"].shape[axis] for film in films), tuple(of))
