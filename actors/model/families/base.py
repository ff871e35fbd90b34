"""What differs between the model families that can be trained; everything else is common.

A family is one file in this folder and one line in its `__init__`. transformers' own `get_image_features` computes the
features of images, and the model takes them back as `mm_encoder_outputs`, so that an image shared by several responses
passes the vision tower once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from actors.model.families.pixel_budget import PixelBudget, PixelBudgetError
from curriculum.taskset import Size


class UnsupportedModel(ValueError):
    """The folder's model belongs to no family that can be trained. One line: its type, and the types that can be."""


class ImageSize(NamedTuple):
    """How many tokens an image costs.

    Attributes:
        patches: patches of the image that become one token.
        tokens: tokens of the largest image that the processor lets through; None if its settings do not tell.
    """

    patches: int
    tokens: int | None


# The settings of an image processor, from each file of the folder that may hold some; the first file that knows counts.
ProcessorSettings = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class ModelFamily:
    """One family of models.

    Attributes:
        model_types: values of `model_type` in `config.json` that belong to the family.
        image_inputs: outputs of the image processor that `get_image_features` takes, each with the axis along which
            images are concatenated; empty if the model reads text only.
        flat_tiles: whether `get_image_features` wants all tiles along one axis, without the processor's batch axis.
        windowed_tower: name, below the model's base, of a vision tower that reads all images in one row and attends
            within images or windows; None if the tower reads a batch.
        has_pixel_budget: whether the image processor's `size` is in pixels of the whole image: `shortest_edge` at
            least, `longest_edge` at most.
        bidirectional_images: whether the tokens of an image attend to each other in both directions
            (`token_type_ids`).
        vision_modules: names of modules that belong to the vision tower.
        projector_modules: names of modules that lead the tower's features to the language model.
        scaled_size: the size that an image processor scales an image of some size to; None if it makes more of an image
            than one that is scaled as a whole. Raises ValueError if it refuses the size.
        adapters_alone: parts of the model whose adapters vLLM's class for the family adds to the base weights by itself
            (`model_parts.Part`).
        largest_image: the cost of the largest image, from the model's configuration and its processor's settings; used
            by `curlvpr plan`. None if it is not known.
    """

    model_types: tuple[str, ...]
    image_inputs: Mapping[str, int] = field(default_factory=dict)
    flat_tiles: bool = False
    windowed_tower: str | None = None
    has_pixel_budget: bool = False
    bidirectional_images: bool = False
    vision_modules: frozenset[str] = frozenset()
    projector_modules: frozenset[str] = frozenset()
    scaled_size: Callable[[Any, Size], Size] | None = None
    adapters_alone: frozenset[str] = frozenset()
    largest_image: Callable[[Any, ProcessorSettings], ImageSize] | None = None

    @property
    def reads_images(self) -> bool:
        return bool(self.image_inputs)

    def check_budget(self, budget: PixelBudget) -> None:
        """Raises PixelBudgetError: `budget` says something, and the family has no pixel budget."""
        if budget.sets_pixels and not self.has_pixel_budget:
            raise PixelBudgetError(
                f"models of type {' or '.join(self.model_types)} have no pixel budget; leave "
                "model.min_pixels and model.max_pixels out"
            )

    def can_pack(self, config: Any) -> bool:
        """Whether a model of this configuration can read packed samples: its attention is causal, no other mask."""
        layers = getattr(config.get_text_config(), "layer_types", None) or ()
        return not self.bidirectional_images and "sliding_attention" not in layers

    def model_class(self) -> Any:
        """transformers' auto class for the family."""
        from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

        return AutoModelForImageTextToText if self.reads_images else AutoModelForCausalLM

    def load(self, folder: str | Path, dtype: Any) -> Any:
        """The model of a Hugging Face folder, with its weights in `dtype`."""
        return self.model_class().from_pretrained(folder, dtype=dtype, use_safetensors=True, trust_remote_code=False)


def first_setting(settings: ProcessorSettings, read: Callable[[Mapping[str, Any]], int | None]) -> int | None:
    """The first value that `read` finds in the settings; None if it finds none."""
    for mapping in settings:
        try:
            value = read(mapping)
        except (KeyError, TypeError, AttributeError):
            continue
        if value is not None:
            return value
    return None
