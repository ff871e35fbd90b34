"""The dimensions of models and their numbers of parameters."""

import json
import shutil

import pytest

from cluster.config.recipe import ModelConfig
from cluster.errors import UserError
from cluster.planning.model_shape import shape_of
from tests.support.plans import MODEL, PARAMETERS, TEXT


def test_the_sizes_of_qwen2_5_vl_7b(seven_billion, tmp_path):
    shape = shape_of(ModelConfig(path=seven_billion))
    assert shape.parameters == PARAMETERS and shape.parameters * 2 == pytest.approx(16.6e9, rel=0.002)
    assert shape.kv_bytes_per_token(2) == 2 * 28 * 4 * 128 * 2 == 57_344
    assert [shape.kv_bytes_per_token(2, shards) for shards in (2, 4, 8)] == [
        28_672,
        14_336,
        14_336,
    ]  # a head is never split
    nested = {"text_config": TEXT, **MODEL}  # as transformers 5 writes it
    (tmp_path / "config.json").write_text(json.dumps(nested))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"max_pixels": 12_845_056}))
    other = shape_of(ModelConfig(path=tmp_path))
    assert other.parameters == PARAMETERS and other.image_tokens == 16_384 and other.text == shape.text
    assert shape_of(ModelConfig(path=tmp_path, max_pixels=2048**2)).image_tokens == 2048**2 // 28**2


def test_a_pixel_budget_is_refused_for_a_family_that_has_none(tmp_path):
    from transformers import Gemma3Config, Qwen2Config

    for config in (Gemma3Config(), Qwen2Config()):
        config.save_pretrained(tmp_path)
        with pytest.raises(UserError, match=f"model.path: .*{config.model_type}.*have no pixel budget"):
            shape_of(ModelConfig(path=tmp_path, max_pixels=2048**2))


def test_the_counted_parameters_are_those_of_a_real_model(tiny_model, tmp_path):
    real = shape_of(ModelConfig(path=tiny_model))
    shutil.copy(tiny_model / "config.json", tmp_path)
    counted = shape_of(ModelConfig(path=tmp_path))
    assert counted.parameters == real.parameters
    from transformers import AutoModelForImageTextToText

    assert AutoModelForImageTextToText.from_pretrained(tiny_model).num_parameters() == real.parameters


def test_a_model_that_does_not_say_what_it_is(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        shape_of(ModelConfig(path=tmp_path / "nowhere"))
    with pytest.raises(UserError, match="has no config.json"):
        shape_of(ModelConfig(path=tmp_path))
    for text, words in (
        ("{", "cannot be read as JSON"),
        ("[]", "holds no mapping"),
        ("{}", "a model of type '' cannot be trained"),
        (json.dumps({**TEXT, **MODEL, "hidden_size": None}), "is no configuration of a model .*hidden_size"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match=words):
            shape_of(ModelConfig(path=tmp_path))
