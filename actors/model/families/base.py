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

CAUSAL_ON_CPU = "vLLM reads this model's images with causal attention on a CPU, and the model itself in both directions"
LINEAR_ON_CPU = "vLLM computes this model's linear attention on a CPU in bfloat16 alone (rollout.dtype)"


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
        counted_frames: how often such a `size` counts each pixel of an image.
        image_marks: name of the input that marks the tokens of images, which then attend to each other in both
            directions; None if they attend causally.
        causal_images: whether, by the model's configuration, they attend causally in spite of the marks.
        linear_attention: whether some layers keep a state instead of keys and values.
        unread_modules: names of modules for inputs that no task has; they stay as they are.
        unread_weights: whether published folders hold weights that transformers' class leaves out.
        suppresses: whether vLLM's class gives the `suppress_tokens` of generation_config.json no chance.
        vision_modules: names of modules that belong to the vision tower.
        projector_modules: names of modules that lead the tower's features to the language model.
        scaled_size: the size that an image processor scales an image of some size to; None if it makes more of an image
            than one that is scaled as a whole. Raises ValueError if it refuses the size.
        adapters_alone: parts of the model whose adapters vLLM's class for the family adds to the base weights by itself
            (`model_parts.Part`).
        vision_mlp: name of the setting of the tower's configuration that is the width of its MLPs.
        largest_image: the cost of the largest image, from the model's configuration and its processor's settings; used
            by `curlvpr plan`. None if it is not known.
    """

    model_types: tuple[str, ...]
    image_inputs: Mapping[str, int] = field(default_factory=dict)
    flat_tiles: bool = False
    windowed_tower: str | None = None
    has_pixel_budget: bool = False
    counted_frames: int = 1
    image_marks: str | None = None
    causal_images: Callable[[Any], bool] = lambda config: False
    linear_attention: bool = False
    unread_modules: frozenset[str] = frozenset()
    unread_weights: bool = False
    suppresses: bool = False
    vision_modules: frozenset[str] = frozenset()
    projector_modules: frozenset[str] = frozenset()
    scaled_size: Callable[[Any, Size], Size] | None = None
    adapters_alone: frozenset[str] = frozenset()
    vision_mlp: str = "intermediate_size"
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
        """Whether a model of this configuration can read packed samples: every layer is causal attention."""
        layers = getattr(config.get_text_config(), "layer_types", None) or ()
        return self.image_marks is None and set(layers) <= {"full_attention"}

    def refused_on_cpu(self, config: Any, dtype: str, images: bool) -> str | None:
        """Why an engine on a CPU would not have the numbers of a model of this configuration; None if it has them.

        Args:
            dtype: of the engine.
            images: whether prompts have some.
        """
        if self.linear_attention and dtype != "bfloat16":
            return LINEAR_ON_CPU
        if images and self.image_marks and not self.causal_images(config):
            return CAUSAL_ON_CPU
        return None

    def model_class(self) -> Any:
        """transformers' auto class for the family."""
        from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

        return AutoModelForImageTextToText if self.reads_images else AutoModelForCausalLM

    def load(self, folder: str | Path, dtype: Any) -> Any:
        """The model of a Hugging Face folder, with its weights in `dtype`."""
        auto = self.model_class()
        model = auto.from_pretrained(folder, dtype=dtype, use_safetensors=True, trust_remote_code=False)
        self.freeze_unread(model)
        return model

    def freeze_unread(self, model: Any) -> None:
        """Turns off the gradients of `unread_modules`."""
        for name, parameter in model.named_parameters():
            if not self.unread_modules.isdisjoint(name.split(".")):
                parameter.requires_grad_(False)


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
