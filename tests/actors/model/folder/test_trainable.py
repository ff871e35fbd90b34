"""Whether tensors are one whole model that can be trained. The real tiny model's tensors are the sound ones."""

import json

import pytest

from actors.model.families import family_of
from actors.model.folder.files import ModelFolderError
from actors.model.folder.trainable import (
    QUANTISED_FILES,
    check_dense,
    check_no_adapter,
    check_not_quantised,
    check_trainable,
    embedding_of,
)
from actors.model.folder.weights import TensorHeader, read_weights
from tests.actors.model.folder.conftest import change_json


@pytest.fixture(scope="module")
def sound(tiny_model):
    """Folder, family, configuration and tensors of the tiny model."""
    config = json.loads((tiny_model / "config.json").read_text())
    return tiny_model, family_of(config["model_type"]), config, read_weights(tiny_model)


def fault(folder, family, config, tensors):
    with pytest.raises(ModelFolderError) as caught:
        check_trainable(folder, family, config, tensors)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_sound_model_passes_in_both_forms_of_its_configuration(sound):
    folder, family, config, tensors = sound
    check_trainable(folder, family, config, tensors)
    flat = {**config, **config["text_config"]}
    del flat["text_config"]
    check_trainable(folder, family, flat, tensors)
    assert embedding_of(tensors) == "model.embed_tokens.weight" and embedding_of({}) is None


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("embed_tokens", r"a token embedding \(embed_tokens.weight\)"),
        ("lm_head", "an output layer .*does not tie"),
        ("visual.", "a vision tower"),
        ("layers.1.", "1 of the 3 layers"),
        ("layers.", "3 of the 3 layers"),
    ],
)
def test_a_part_that_is_missing_is_named(sound, part, words):
    folder, family, config, tensors = sound
    left = {name: tensor for name, tensor in tensors.items() if part not in name}
    with pytest.raises(ModelFolderError, match=f"its weights lack .*{words}"):
        check_trainable(folder, family, config, left)


def test_a_tied_output_layer_is_not_missed(sound):
    folder, family, config, tensors = sound
    left = {name: tensor for name, tensor in tensors.items() if "lm_head" not in name}
    check_trainable(folder, family, config | {"tie_word_embeddings": True}, left)


def test_a_configuration_of_another_size_is_told(sound):
    folder, family, config, tensors = sound
    for name, value, words in (
        ("num_hidden_layers", 2, "3 layers, config.json says 2"),
        ("hidden_size", 64, r"the shape \d+ × 128, config.json says hidden_size 64"),
        ("vocab_size", 100, "config.json says vocab_size 100"),
    ):
        other = config | {"text_config": config["text_config"] | {name: value}}
        with pytest.raises(ModelFolderError, match=words):
            check_trainable(folder, family, other, tensors)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "_fsdp_wrapped_module.model."])
def test_names_that_a_wrapper_left_are_told(sound, prefix):
    folder, family, config, tensors = sound
    assert "a wrapper around the model" in fault(folder, family, config, {prefix + k: v for k, v in tensors.items()})


@pytest.mark.parametrize("name", ["q_proj.base_layer.weight", "q_proj.lora_A.default.weight"])
def test_an_adapter_that_was_not_merged_is_told(sound, name):
    folder, family, config, tensors = sound
    line = fault(folder, family, config, {**tensors, f"base_model.model.layers.0.{name}": TensorHeader("F32", (2, 2))})
    assert "an adapter that was not merged" in line and "merge_and_unload" in line


def test_tensors_without_numbers_are_told_as_what_zero3_leaves(sound):
    folder, family, config, tensors = sound
    names = [name for name in tensors if name.endswith("q_proj.weight")]
    line = fault(folder, family, config, {**tensors, **dict.fromkeys(names, TensorHeader("BF16", (0,)))})
    assert f"{names[0]}, {names[1]} and 1 more hold no numbers" in line and "zero_to_fp32.py" in line


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("q_proj.weight", "F8_E4M3"),
        ("q_proj.weight", "U8"),
        ("q_proj.qweight", "I32"),
        ("q_proj.weight_scale_inv", "F32"),
        ("q_proj.weight_packed", "I32"),
    ],
)
def test_quantised_tensors_are_told_even_if_no_configuration_says_so(sound, name, dtype):
    folder, family, config, tensors = sound
    line = fault(folder, family, config, {**tensors, f"model.layers.0.{name}": TensorHeader(dtype, (2, 2))})
    assert "a quantised model cannot be trained" in line and name in line and dtype in line


@pytest.mark.parametrize("place", ["", "text_config"])
@pytest.mark.parametrize(
    ("key", "value", "method"),
    [
        ("quantization_config", {"quant_method": "gptq", "bits": 4}, "gptq"),
        ("quantization_config", {"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ("quantization_config", {"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ("quantization_config", {"quant_method": "compressed-tensors"}, "compressed-tensors"),
        ("compression_config", {"format": "int-quantized"}, "not named"),
        ("quantization", {"group_size": 64, "bits": 4}, "not named"),
        ("quantization_config", {}, "not named"),
    ],
)
def test_a_configuration_that_says_quantised_is_refused(folder, place, key, value, method):
    config = {place: {key: value}} if place else {key: value}
    with pytest.raises(ModelFolderError, match=f"cannot be trained .config.json's {place}.*{key}: .*{method}"):
        check_not_quantised(folder, config)


def test_files_of_older_quantisers_are_known_and_null_is_nothing(folder):
    check_not_quantised(folder, {"quantization_config": None, "text_config": {"quantization_config": None}})
    for name in QUANTISED_FILES:
        (folder / name).write_text("{}")
        with pytest.raises(ModelFolderError, match=f"it has a {name}"):
            check_not_quantised(folder, {})
        (folder / name).unlink()


def test_an_adapter_is_told_alone_and_beside_its_model(folder):
    check_no_adapter(folder)
    adapter = folder / "adapter_config.json"
    change_json(adapter, lambda content: content.update(base_model_name_or_path="Qwen/Qwen2.5-VL-7B-Instruct"))
    with pytest.raises(ModelFolderError, match="beside its model.*merge_and_unload"):
        check_no_adapter(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelFolderError, match="not a model; merge it into Qwen/Qwen2.5-VL-7B-Instruct"):
        check_no_adapter(folder)
    change_json(adapter, lambda content: content.update(base_model_name_or_path=None))
    with pytest.raises(ModelFolderError, match="merge it into its base model"):
        check_no_adapter(folder)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "qwen3_5_moe", "text_config": {"model_type": "qwen3_5_moe_text"}},
        {"model_type": "gemma4", "text_config": {"model_type": "gemma4_text", "num_experts": 128}},
        {"model_type": "internvl", "text_config": {"model_type": "qwen3_moe", "num_experts": 128}},
        {"model_type": "mixtral", "num_local_experts": 8},
    ],
)
def test_a_mixture_of_experts_is_refused(tmp_path, config):
    with pytest.raises(ModelFolderError, match=r"config.json: a mixture of experts \(\w+\) .*take a dense model"):
        check_dense(tmp_path, config)


def test_a_dense_model_of_a_family_with_experts_is_no_mixture(tmp_path):
    check_dense(tmp_path, {"model_type": "gemma4", "text_config": {"model_type": "gemma4_text", "num_experts": None}})
