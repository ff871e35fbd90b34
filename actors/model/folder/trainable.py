"""Whether the weights of a folder are those of one whole model that can be trained: no adapter, nothing quantised."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from actors.model.families import ModelFamily
from actors.model.folder.files import ModelFolderError, is_named, listed, mapping, read_json
from actors.model.folder.weights import Tensors

ADAPTER = "adapter_config.json"
QUANTISED_KEYS = ("quantization_config", "compression_config", "quantization")
QUANTISED_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json", "bnb_config.json")
QUANTISED_ENDS = (
    ".qweight",
    ".qzeros",
    ".scales",
    ".weight_scale",
    ".weight_scale_inv",
    ".weight_packed",
    ".SCB",
    ".absmax",
    ".quant_map",
    ".quant_state",
)
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")  # their number in a layer
SIZES = ("vocab_size", "hidden_size")  # of the token embedding
FLOATS = ("F64", "F32", "F16", "BF16")
# Parts of names that wrappers around a model leave in its weights; transformers and vLLM then find none of them.
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module", "base_layer")
SAVE_UNWRAPPED = "save the model itself, taken out of what wraps it, with model.save_pretrained"
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def check_no_adapter(folder: Path) -> None:
    """Raises ModelFolderError if the folder is an adapter, or holds one beside its model."""
    if not is_named(folder / ADAPTER):
        return
    if is_named(folder / "config.json"):
        raise ModelFolderError(
            f"{folder} holds an adapter ({ADAPTER}) beside its model, and the engine would leave it out; merge it into "
            "the model (peft's merge_and_unload), or move the adapter's files elsewhere"
        )
    base = read_json(folder / ADAPTER).get("base_model_name_or_path") or "its base model"
    raise ModelFolderError(
        f"{folder} holds an adapter ({ADAPTER}), not a model; merge it into {base} (peft's merge_and_unload) and give "
        "the folder that this is saved to"
    )


def check_not_quantised(folder: Path, config: dict[str, Any]) -> None:
    """Raises ModelFolderError if the configuration, or a file beside it, says that the weights are quantised."""
    for place, part in (("", config), ("text_config.", mapping(config, "text_config"))):
        for key in QUANTISED_KEYS:
            if part.get(key) is not None:
                method = mapping(part, key).get("quant_method") or "a method that is not named"
                raise _quantised(f"config.json's {place}{key}: {method}", folder)
    for name in QUANTISED_FILES:
        if is_named(folder / name):
            raise _quantised(f"it has a {name}", folder)


def _quantised(sign: str, folder: Path) -> ModelFolderError:
    return ModelFolderError(
        f"{folder}: a quantised model cannot be trained ({sign}); give the folder of the original, in bfloat16 or "
        "float32"
    )


def check_dense(folder: Path, config: dict[str, Any]) -> None:
    """Raises ModelFolderError if the configuration is that of a mixture of experts."""
    kind = str(_setting(config, "model_type") or "")
    counts = [_setting(config, name) for name in EXPERTS]
    if "moe" in kind or any(isinstance(count, int) and count > 1 for count in counts):
        raise ModelFolderError(
            f"{folder / 'config.json'}: a mixture of experts ({kind}) cannot be trained; take a dense model, whose "
            "layers have one MLP each"
        )


def check_trainable(folder: Path, family: ModelFamily, config: dict[str, Any], tensors: Tensors) -> None:
    """Checks that the tensors are plain numbers, and together a model of the configuration.

    Raises:
        ModelFolderError: they are not.
    """
    _check_plain(folder, tensors)
    layers = {int(match[1]) for name in _of_text(family, tensors) for match in [_LAYER.search(name)] if match}
    wanted = _setting(config, "num_hidden_layers")
    embedding = embedding_of(tensors)
    missing = []
    if embedding is None:
        missing.append("a token embedding (embed_tokens.weight)")
    if not _ties(config) and not any(name.endswith("lm_head.weight") for name in tensors):
        missing.append("an output layer (lm_head.weight), which config.json does not tie to the embedding")
    if family.reads_images and not any(family.vision_modules & set(name.split(".")) for name in tensors):
        missing.append("a vision tower")
    if isinstance(wanted, int) and not layers >= set(range(wanted)):
        missing.append(f"{wanted - len(layers & set(range(wanted)))} of the {wanted} layers that config.json says")
    if missing:
        raise ModelFolderError(
            f"{folder}: its weights lack {' and '.join(missing)}; download or save the whole model again"
        )
    if isinstance(wanted, int) and max(layers, default=0) >= wanted:
        raise ModelFolderError(
            f"{folder}: its weights have {max(layers) + 1} layers, config.json says {wanted}; copy the config.json "
            "that belongs to them"
        )
    if embedding is not None:
        check_embedding(folder, {name: _setting(config, name) for name in SIZES}, tensors[embedding].shape)


def _check_plain(folder: Path, tensors: Tensors) -> None:
    for name, tensor in tensors.items():
        if name.endswith(QUANTISED_ENDS) or (name.endswith(".weight") and tensor.dtype not in FLOATS):
            raise _quantised(f"it has {name} of type {tensor.dtype}", folder)
    empty = [name for name, tensor in tensors.items() if tensor.size == 0]
    if empty:
        raise ModelFolderError(
            f"{folder}: {listed(empty)} hold no numbers, as if saved under ZeRO-3 without gathering; make the folder "
            "again with DeepSpeed's zero_to_fp32.py, or with stage3_gather_16bit_weights_on_model_save"
        )
    for name in tensors:
        if "lora_" in name or name.startswith("base_model.") or set(name.split(".")) & set(WRAPPERS):
            what = (
                "an adapter that was not merged" if "lora_" in name or "base_" in name else "a wrapper around the model"
            )
            remedy = "merge it (peft's merge_and_unload) and save again" if what.startswith("an ad") else SAVE_UNWRAPPED
            raise ModelFolderError(f"{folder}: its weights have the names of {what}, such as {name}; {remedy}")


def embedding_of(tensors: Tensors) -> str | None:
    """The name of the token embedding [tokens, hidden size]; None if there is none."""
    return next((name for name in tensors if name.endswith("embed_tokens.weight")), None)


def check_embedding(folder: Path, sizes: Mapping[str, Any], shape: Collection[int]) -> None:
    """Raises ModelFolderError if the token embedding has another shape than `sizes` says, where it says one."""
    for name, length in zip(SIZES, shape, strict=False):
        said = sizes.get(name)
        if isinstance(said, int) and said != length:
            raise ModelFolderError(
                f"{folder}: the token embedding has the shape {' × '.join(map(str, shape))}, config.json says {name} "
                f"{said}; copy the config.json that belongs to the weights"
            )


def _of_text(family: ModelFamily, tensors: Tensors) -> Iterator[str]:
    """The names of tensors outside the vision tower, the projector, and modules that no task reaches."""
    others = family.vision_modules | family.projector_modules | family.unread_modules
    return (name for name in tensors if not others & set(name.split(".")))


def _setting(config: dict[str, Any], name: str) -> Any:
    """A setting of the language model, which stands in `text_config` or, in older folders, beside it."""
    return mapping(config, "text_config").get(name, config.get(name))


def _ties(config: dict[str, Any]) -> bool:
    """Whether the output layer may be the embedding. Where nothing is said, the model's class decides: it may be."""
    said = [part.get("tie_word_embeddings") for part in (config, mapping(config, "text_config"))]
    return True in said or False not in said
