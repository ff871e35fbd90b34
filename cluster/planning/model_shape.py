"""The dimensions of a model and its number of parameters, from `config.json` or a tiny model's settings.

Loads no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from actors.learner.config import Freeze, LearnerConfig
from actors.model.families import ModelFamily
from actors.model.families.pixel_budget import PixelBudgetError
from actors.model.folder.files import check_folder, is_named, read_json
from actors.model.folder.judge import PROCESSORS
from actors.model.folder.weights import parameters, read_weights
from actors.model.tiny_model import SPECIAL_TOKENS, TinyModelConfig, model_configuration
from cluster.config.recipe import ModelConfig, Recipe
from cluster.errors import UserError
from cluster.planning.model_check import model_family, naming
from cluster.stages import StageKind

TINY_VOCABULARY = 640  # about; the run's texts decide


@dataclass(frozen=True)
class Tower:
    """A stack of transformer layers with gated MLPs. `heads` of queries share `kv_heads` heads of keys and values."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int


BLIND = Tower(0, 0, 0, 1, 1, 0)


@dataclass(frozen=True)
class ModelShape:
    """The dimensions of a model of any family. One that reads text alone has a vision tower without layers.

    Attributes:
        caches: heads of keys and their size, for each text layer whose keys and values an engine keeps. A layer of
            linear attention keeps none, and some layers use those of others.
        state_bytes: of a sequence in layers of linear attention, however long it is.
        tied: whether the output layer shares the embedding's weights.
        patches: image patches that become one token.
        image_tokens: tokens of the largest image that the processor lets through; None without a processor.
        parameters: as `parameters_of`.
        trained: parameters that get gradients; adapters are not among `parameters`.
    """

    text: Tower
    caches: tuple[tuple[int, int], ...]
    state_bytes: int
    vision: Tower
    vocabulary: int
    tied: bool
    patches: int
    image_tokens: int | None
    parameters: int
    trained: int

    def kv_bytes_per_token(self, width: int, shards: int = 1) -> int:
        """Bytes of KV cache on one GPU: 2 (key and value) × heads × head size × `width`, for all layers.

        Args:
            width: bytes of a number.
            shards: tensor-parallel size. The heads are divided among the shards; with more shards than heads, vLLM
                copies heads.
        """
        return 2 * width * sum(max(1, heads // shards) * size for heads, size in self.caches)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def shape_of(model: ModelConfig, learner: LearnerConfig | None = None) -> ModelShape:
    """The shape of a model as a learner trains it, by default whole.

    Raises:
        UserError: the model's folder lacks its configuration, its family has no pixel budget and `model` sets one, or
            as `trained_parameters`.
    """
    shape = _tiny(model.tiny, model.max_pixels) if model.tiny else _read(model)
    return replace(shape, trained=trained_parameters(model, learner or LearnerConfig(), shape.parameters))


def folder_shapes(recipe: Recipe, stage: StageKind) -> list[ModelShape]:
    """The shapes of the models of other folders that a stage reads: teachers, and a reference. One that cannot be read
    is left out: `model_check` says what is wrong with it.
    """
    shapes = []
    for folder in map(Path, stage.folder_models.folders):
        described = folder / "config.json"
        written = described.stat().st_mtime_ns if described.is_file() else 0
        with suppress(UserError):
            shapes.append(_folder_shape(folder, recipe.model.min_pixels, recipe.model.max_pixels, written))
    return shapes


@lru_cache(maxsize=32)
def _folder_shape(folder: Path, min_pixels: int | None, max_pixels: int | None, _: int) -> ModelShape:
    """Advice tries many recipes; the files of a folder are read once."""
    return shape_of(ModelConfig(path=folder, min_pixels=min_pixels, max_pixels=max_pixels))


def trained_parameters(model: ModelConfig, learner: LearnerConfig, everything: int) -> int:
    """How many parameters get gradients: the adapters', or all except the frozen ones and those that no task reaches.

    Args:
        everything: the answer without adapters and frozen parts.

    Raises:
        UserError: the model has no such parts.
    """
    family = None if model.tiny else model_family(model.folder, "model.path")
    if learner.lora is None and learner.freeze == Freeze() and not (family and family.unread_modules):
        return everything
    parameters = empty_model(model, learner).parameters()
    return sum(parameter.numel() for parameter in parameters if parameter.requires_grad)


def empty_model(model: ModelConfig, learner: LearnerConfig) -> Any:
    """The model on the meta device, where it takes no memory, with those parameters trained that the learner chooses.

    Raises:
        UserError: the model has no such parts.
    """
    import torch

    from actors.learner.deepspeed_engine import choose_trained

    with torch.device("meta"):
        made = _made(model)
        try:
            choose_trained(made, learner)
        except ValueError as error:
            raise UserError(str(error)) from error
    return made


def _made(model: ModelConfig) -> Any:
    if model.tiny:
        from transformers import Qwen2_5_VLForConditionalGeneration

        ids = {token: number for number, token in enumerate(SPECIAL_TOKENS)}
        return Qwen2_5_VLForConditionalGeneration(model_configuration(model.tiny, TINY_VOCABULARY, ids))
    family = model_family(model.folder, "model.path")
    made = family.model_class().from_config(configuration_of(model.folder, "model.path"))
    family.freeze_unread(made)
    return made


def _tiny_parameters(text: Tower, vision: Tower, vocabulary: int, patch_values: int, patches: int) -> int:
    """Parameters of an untied Qwen2.5-VL (transformers' modeling_qwen2_5_vl).

    Queries, keys and values have biases; in the vision tower all layers do.
    """
    h, queries, keys = text.hidden, text.heads * text.head_dim, text.kv_heads * text.head_dim
    attention = queries * (h + 1) + 2 * keys * (h + 1) + queries * h
    language = text.layers * (attention + 3 * h * text.intermediate + 2 * h) + h + vocabulary * h * 2
    v, wide = vision.hidden, patches * vision.hidden
    block = 3 * v * (v + 1) + v * (v + 1) + 2 * vision.intermediate * (v + 1) + v * (vision.intermediate + 1) + 2 * v
    merger = v + wide * (wide + 1) + h * (wide + 1)
    return language + patch_values * v + vision.layers * block + merger


def _tiny(config: TinyModelConfig, max_pixels: int | None) -> ModelShape:
    """The shape that `make_tiny_model` builds, except for the vocabulary, which depends on the run's texts."""
    heads, vision_heads = config.hidden // 32, config.vision_hidden // 32
    text = Tower(config.layers, config.hidden, 3 * config.hidden, heads, max(1, heads // 2), 32)
    vision = Tower(config.vision_layers, config.vision_hidden, 3 * config.vision_hidden, vision_heads, vision_heads, 32)
    parameters = _tiny_parameters(text, vision, TINY_VOCABULARY, 3 * 2 * 14**2, 4)
    image_tokens = (max_pixels or config.image_size**2) // 28**2
    caches = ((text.kv_heads, text.head_dim),) * text.layers
    return ModelShape(text, caches, 0, vision, TINY_VOCABULARY, False, 4, image_tokens, parameters, parameters)


def _read(model: ModelConfig) -> ModelShape:
    folder = model.folder
    family, config = model_family(folder, "model.path"), configuration_of(folder, "model.path")
    try:
        family.check_budget(model)
    except PixelBudgetError as error:
        raise UserError(f"model.path: {folder}: {error}") from error
    text = config.get_text_config()
    layers = list(text.per_layer_config)
    shared = getattr(text, "num_kv_shared_layers", 0)  # the last ones
    kinds = getattr(text, "layer_types", None) or ["full_attention"] * len(layers)
    keys = [_keys(layer) for layer, kind in zip(layers, kinds, strict=True) if kind != "linear_attention"]
    wide = 1 + bool(shared and getattr(text, "use_double_wide_mlp", False))  # the widest layers count
    language = Tower(
        len(layers),
        text.hidden_size,
        wide * text.intermediate_size,
        text.num_attention_heads,
        keys[0][0],
        max(size for _, size in keys),
    )
    vision, patches, image_tokens = _seeing(family, model, config) if family.reads_images else (BLIND, 1, 0)
    parameters = parameters_of(folder) if any(folder.glob("*.safetensors")) else _count(family, config)
    return ModelShape(
        language,
        tuple(keys[: len(keys) - shared]),
        kinds.count("linear_attention") * _state_bytes(text) if family.linear_attention else 0,
        vision,
        text.vocab_size,
        bool(config.tie_word_embeddings),
        patches,
        image_tokens,
        parameters,
        parameters,
    )


def _keys(layer: Any) -> tuple[int, int]:
    """Heads of keys and their size, from the configuration of a layer."""
    heads = layer.num_attention_heads
    return (
        getattr(layer, "num_key_value_heads", None) or heads,
        getattr(layer, "head_dim", None) or layer.hidden_size // heads,
    )


def _state_bytes(text: Any) -> int:
    """Of a sequence in one layer of linear attention, in float32: a matrix for each head, and what the convolution has
    read last.
    """
    keys = text.linear_num_key_heads * text.linear_key_head_dim
    values = text.linear_num_value_heads * text.linear_value_head_dim
    read = (text.linear_conv_kernel_dim - 1) * (2 * keys + values)
    return 4 * (values * text.linear_key_head_dim + read)


def configuration_of(folder: Path, setting: str) -> Any:
    """The configuration as transformers reads it, which fills in what the folder leaves out. Raises UserError, which
    names `setting`.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # its checks raise what they like
        raise UserError(
            f"{setting}: {folder / 'config.json'} is no configuration of a model ({' '.join(str(error).split()):.300})"
        ) from error


def _count(family: ModelFamily, config: Any) -> int:
    """Parameters of the model, built on the meta device. A tied output layer counts once."""
    import torch

    with torch.device("meta"):
        return family.model_class().from_config(config).num_parameters()


def _seeing(family: ModelFamily, model: ModelConfig, config: Any) -> tuple[Tower, int, int | None]:
    """The vision tower, the patches that become one token, and the tokens of the largest image."""
    part = config.vision_config
    width, eyes = getattr(part, "embed_dim", part.hidden_size), part.num_attention_heads
    tower = Tower(
        getattr(part, "depth", 0) or part.num_hidden_layers,
        width,
        getattr(part, family.vision_mlp, None) or int(width * part.mlp_ratio),
        eyes,
        eyes,
        width // eyes,
    )
    if family.largest_image is None:
        return tower, 1, None
    settings = chain([{"max_pixels": model.max_pixels}], _processor_settings(model.folder))
    patches, tokens = family.largest_image(config, settings)
    return tower, patches, tokens


def _processor_settings(folder: Path) -> Iterator[Mapping[str, Any]]:
    """The image processor's settings, in both of their stored forms."""
    for name in PROCESSORS:
        if is_named(folder / name):
            with naming("model.path"):
                config = read_json(folder / name)
            yield config.get("image_processor", config)


def parameters_of(folder: Path) -> int:
    """Parameters of the model in a Hugging Face folder with weights: by the headers of its safetensors files or, where
    these hold more than transformers reads, in the model's class. Raises UserError.
    """
    with naming("model.path"):
        check_folder(folder)
        stored = parameters(read_weights(folder))
    family = model_family(folder, "model.path")
    return _count(family, configuration_of(folder, "model.path")) if family.unread_weights else stored
