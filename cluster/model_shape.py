"""The dimensions of a model and its number of parameters, without loading it: from `config.json`, or from a tiny one's sizes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actors.tiny_model import TinyModelConfig

from .errors import UserError
from .recipe import ModelConfig

TINY_VOCABULARY = 640  # nearly; the run's texts decide
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Tower:
    """A stack of transformer layers with gated MLPs; `kv_heads` heads of keys and values are shared by `heads` of queries."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class ModelShape:
    """A Qwen2.5-VL.

    Attributes:
        tied: whether the output layer is the embedding.
        patch_values: numbers that a patch of an image holds.
        patches: of an image that become one token.
        image_tokens: of the largest image that its processor lets through; None where no processor is there to say so.
        parameters: of the weights' files where they are there, else by `count_parameters`.
    """

    text: Tower
    vision: Tower
    vocabulary: int
    tied: bool
    patch_values: int
    patches: int
    image_tokens: int | None
    parameters: int

    def kv_bytes_per_token(self, width: int, shards: int = 1) -> int:
        """Of the KV cache on one GPU: 2 (key and value) × layers × heads × head_dim × `width`.

        Tensor parallelism shares out the heads; where there are more `shards` than heads, vLLM copies them.
        """
        heads = max(1, self.text.kv_heads // shards)
        return 2 * self.text.layers * heads * self.text.head_dim * width

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def shape_of(model: ModelConfig) -> ModelShape:
    """Raises UserError where the model's folder does not say what it is."""
    return _tiny(model.tiny) if model.tiny else _read(model.path.absolute())


def count_parameters(text: Tower, vision: Tower, vocabulary: int, tied: bool, patch_values: int, patches: int) -> int:
    """Of a Qwen2.5-VL (transformers' modeling_qwen2_5_vl): q, k, v have biases, in the vision tower all layers have."""
    h, queries, keys = text.hidden, text.heads * text.head_dim, text.kv_heads * text.head_dim
    attention = queries * (h + 1) + 2 * keys * (h + 1) + queries * h
    language = text.layers * (attention + 3 * h * text.intermediate + 2 * h) + h + vocabulary * h * (1 if tied else 2)
    v, wide = vision.hidden, patches * vision.hidden
    block = 3 * v * (v + 1) + v * (v + 1) + 2 * vision.intermediate * (v + 1) + v * (vision.intermediate + 1) + 2 * v
    merger = v + wide * (wide + 1) + h * (wide + 1)
    return language + patch_values * v + vision.layers * block + merger


def _tiny(config: TinyModelConfig) -> ModelShape:
    """What `make_tiny_model` builds, but for the vocabulary, which depends on the run's texts."""
    heads, vision_heads = config.hidden // 32, config.vision_hidden // 32
    text = Tower(config.layers, config.hidden, 3 * config.hidden, heads, max(1, heads // 2), 32)
    vision = Tower(config.vision_layers, config.vision_hidden, 3 * config.vision_hidden, vision_heads, vision_heads, 32)
    return _shape(text, vision, TINY_VOCABULARY, False, 3 * 2 * 14**2, 4, (config.image_size // 28) ** 2, None)


def _read(folder: Path) -> ModelShape:
    if not folder.is_dir():
        raise UserError(f"model.path: {folder}: no such folder")
    path = folder / "config.json"
    config = _json(path)
    text, vision = config.get("text_config", config), config.get("vision_config")  # hubs' folders have the text's flat
    if not isinstance(text, dict) or not isinstance(vision, dict):
        raise UserError(f"model.path: {path} has no vision_config; the folder of a model like Qwen2.5-VL is needed")
    number = lambda part, key: _number(path, part, key)  # noqa: E731
    hidden, heads = number(text, "hidden_size"), number(text, "num_attention_heads")
    language = Tower(
        number(text, "num_hidden_layers"), hidden, number(text, "intermediate_size"), heads,
        text.get("num_key_value_heads") or heads, text.get("head_dim") or hidden // heads)
    width, eyes = number(vision, "hidden_size"), number(vision, "num_heads")
    tower = Tower(number(vision, "depth"), width, number(vision, "intermediate_size"), eyes, eyes, width // eyes)
    patch, merge = vision.get("patch_size", 14), vision.get("spatial_merge_size", 2)
    values = vision.get("in_chans", vision.get("in_channels", 3)) * vision.get("temporal_patch_size", 2) * patch**2
    tied = bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False)))
    return _shape(language, tower, number(text, "vocab_size"), tied, values, merge**2, _image_tokens(folder, patch * merge),
                  _in_files(folder))


def _shape(text: Tower, vision: Tower, vocabulary: int, tied: bool, patch_values: int, patches: int, image_tokens: int | None,
           parameters: int | None) -> ModelShape:
    counted = count_parameters(text, vision, vocabulary, tied, patch_values, patches)
    return ModelShape(text, vision, vocabulary, tied, patch_values, patches, image_tokens, parameters or counted)


def _json(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"model.path: {path.parent} has no {path.name} (the model's configuration)") from None
    except (OSError, ValueError) as error:
        raise UserError(f"model.path: {path} cannot be read as JSON ({error}); copy it again") from error
    if not isinstance(config, dict):
        raise UserError(f"model.path: {path} holds no mapping; copy it again")
    return config


def _number(path: Path, part: Mapping[str, Any], key: str) -> int:
    value = part.get(key)
    if not isinstance(value, int) or value < 1:
        raise UserError(f"model.path: {path}: {key} is {'missing' if value is None else repr(value)}; a positive whole number, "
                        "as in the configuration of a model like Qwen2.5-VL, is needed")
    return value


def _image_tokens(folder: Path, side: int) -> int | None:
    """Tokens of the largest image, `side` pixels a token each way; both forms in which processors have stored their limit."""
    for name in PROCESSOR_FILES:
        if (folder / name).is_file():
            config = _json(folder / name)
            config = config.get("image_processor", config)
            pixels = config.get("max_pixels") or (config.get("size") or {}).get("longest_edge")
            if pixels:
                return int(pixels) // side**2
    return None


def _in_files(folder: Path) -> int | None:
    return parameters_in(folder) if any(folder.glob("*.safetensors")) else None


def parameters_in(folder: Path) -> int:
    """Parameters of a Hugging Face folder, from the headers of its safetensors files. Raises UserError."""
    from safetensors import SafetensorError, safe_open

    if not folder.is_dir():
        raise UserError(f"model.path: {folder}: no such folder")
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "np") as file:
                total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())
        except (SafetensorError, OSError) as error:
            raise UserError(f"model.path: {path} cannot be read as safetensors ({error}); copy it again") from error
    if not total:
        raise UserError(f"model.path: {folder} has no *.safetensors file with weights")
    return total
