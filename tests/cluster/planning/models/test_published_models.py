"""The configurations of published models, as their folders have them: what they are taken for, and how large."""

import json

import pytest

from cluster.config.recipe import ModelConfig
from cluster.errors import UserError
from cluster.planning.model_check import model_family
from cluster.planning.model_shape import configuration_of, shape_of

QWEN3_5 = dict(
    vocab_size=248320,
    head_dim=256,
    full_attention_interval=4,
    linear_conv_kernel_dim=4,
    linear_key_head_dim=128,
    linear_num_key_heads=16,
    linear_value_head_dim=128,
    mamba_ssm_dtype="float32",
    mtp_num_hidden_layers=1,
    attn_output_gate=True,
    rope_parameters=dict(
        mrope_interleaved=True,
        mrope_section=[11, 11, 10],
        partial_rotary_factor=0.25,
        rope_theta=10_000_000,
        rope_type="default",
    ),
    model_type="qwen3_5_text",
)
QWEN3_5_EYES = dict(
    deepstack_visual_indexes=[],
    in_channels=3,
    num_heads=16,
    num_position_embeddings=2304,
    patch_size=16,
    spatial_merge_size=2,
    temporal_patch_size=2,
    model_type="qwen3_5",
)
QWEN_FILMS = {"preprocessor_config.json": {"size": {"longest_edge": 16_777_216, "shortest_edge": 65_536}}}
GEMMA4 = dict(
    vocab_size=262144,
    vocab_size_per_layer_input=262144,
    head_dim=256,
    global_head_dim=512,
    final_logit_softcapping=30.0,
    rope_parameters=dict(
        full_attention=dict(partial_rotary_factor=0.25, rope_theta=1_000_000.0, rope_type="proportional"),
        sliding_attention=dict(rope_theta=10_000.0, rope_type="default"),
    ),
    enable_moe_block=False,
    num_experts=None,
    model_type="gemma4_text",
)
GEMMA4_EYES = dict(num_hidden_layers=16, hidden_size=768, intermediate_size=3072, model_type="gemma4_vision")
GEMMA4_FILMS = {"processor_config.json": {"image_processor": {"max_soft_tokens": 280, "pooling_kernel_size": 3}}}
INTERNVL_EYES = dict(
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=24,
    num_attention_heads=16,
    image_size=[448, 448],
    patch_size=[14, 14],
    attention_bias=True,
    model_type="internvl_vision",
)
INTERNVL_FILMS = {"preprocessor_config.json": {"crop_to_patches": False, "max_patches": 12, "min_patches": 1}}
GLM = dict(
    vocab_size=151552,
    hidden_size=4096,
    intermediate_size=13696,
    num_hidden_layers=40,
    num_attention_heads=32,
    num_key_value_heads=2,
    attention_bias=True,
    pad_token_id=151329,
    eos_token_id=[151329, 151336, 151338, 151348],
)
GLM_EYES = dict(
    depth=24,
    hidden_size=1536,
    intermediate_size=13696,
    num_heads=12,
    out_hidden_size=4096,
    image_size=336,
    patch_size=14,
    spatial_merge_size=2,
    temporal_patch_size=2,
    model_type="glm4v",
)
GLM_FILMS = {"preprocessor_config.json": {"size": {"shortest_edge": 12_544, "longest_edge": 9_633_792}}}


def layers(*sizes):
    return dict(
        zip(
            ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"),
            sizes,
            strict=True,
        )
    )


def sliding(every, count):
    """One layer in so many has no window."""
    return ["full_attention" if (n + 1) % every == 0 else "sliding_attention" for n in range(count)]


# By the name of the model: its files, billions of parameters, bytes of the keys and values of a token in bfloat16, and
# tokens of the largest film.
PUBLISHED = {
    "Qwen3.5-4B": (
        dict(
            model_type="qwen3_5",
            tie_word_embeddings=True,
            text_config=QWEN3_5 | layers(32, 2560, 9216, 16, 4) | dict(linear_num_value_heads=32),
            vision_config=QWEN3_5_EYES | dict(depth=24, hidden_size=1024, intermediate_size=4096, out_hidden_size=2560),
        ),
        QWEN_FILMS,
        4.5,
        8 * 2 * 4 * 256 * 2,
        16_777_216 // 32**2,
    ),
    "Qwen3.5-27B": (
        dict(
            model_type="qwen3_5",
            tie_word_embeddings=False,
            text_config=QWEN3_5 | layers(64, 5120, 17408, 24, 4) | dict(linear_num_value_heads=48),
            vision_config=QWEN3_5_EYES | dict(depth=27, hidden_size=1152, intermediate_size=4304, out_hidden_size=5120),
        ),
        QWEN_FILMS,
        27.4,
        16 * 2 * 4 * 256 * 2,
        16_777_216 // 32**2,
    ),
    "GLM-4.1V-9B-Thinking": (
        dict(
            model_type="glm4v",
            rope_scaling=dict(type="default", mrope_section=[8, 12, 12]),
            partial_rotary_factor=0.5,
            vision_config=GLM_EYES,
            tie_word_embeddings=False,
            **GLM,
        ),
        GLM_FILMS,
        10.3,
        40 * 2 * 2 * 128 * 2,
        9_633_792 // 2 // 28**2,
    ),
    "gemma-4-E2B-it": (
        dict(
            model_type="gemma4",
            text_config=GEMMA4
            | layers(35, 1536, 6144, 8, 1)
            | dict(
                layer_types=sliding(5, 35),
                num_kv_shared_layers=20,
                use_double_wide_mlp=True,
                hidden_size_per_layer_input=256,
                use_bidirectional_attention=None,
                sliding_window=512,
            ),
            vision_config=GEMMA4_EYES,
            audio_config=dict(model_type="gemma4_audio"),
        ),
        GEMMA4_FILMS,
        5.1,
        2 * (12 * 256 + 3 * 512) * 2,
        280,
    ),
    "gemma-4-31B-it": (
        dict(
            model_type="gemma4",
            text_config=GEMMA4
            | layers(60, 5376, 21504, 32, 16)
            | dict(
                layer_types=sliding(6, 60),
                num_kv_shared_layers=0,
                num_global_key_value_heads=4,
                attention_k_eq_v=True,
                hidden_size_per_layer_input=0,
                use_bidirectional_attention="vision",
                sliding_window=1024,
            ),
            vision_config=GEMMA4_EYES
            | dict(num_hidden_layers=27, hidden_size=1152, intermediate_size=4304, num_attention_heads=16, head_dim=72),
            audio_config=None,
        ),
        GEMMA4_FILMS,
        31.3,
        2 * (50 * 16 * 256 + 10 * 4 * 512) * 2,
        280,
    ),
    "InternVL3_5-8B-HF": (
        dict(
            model_type="internvl",
            text_config=layers(36, 4096, 12288, 32, 8)
            | dict(model_type="qwen3", head_dim=128, vocab_size=151936, tie_word_embeddings=False),
            vision_config=INTERNVL_EYES,
            downsample_ratio=0.5,
            image_seq_length=256,
            tie_word_embeddings=False,
        ),
        INTERNVL_FILMS,
        8.5,
        36 * 2 * 8 * 128 * 2,
        13 * 256,
    ),
}


def published(name, folder):
    config, files, *sizes = PUBLISHED[name]
    for file, content in (files | {"config.json": config}).items():
        (folder / file).write_text(json.dumps(content))
    return sizes


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_has_its_size(name, tmp_path):
    billions, cache, film = published(name, tmp_path)
    shape = shape_of(ModelConfig(path=tmp_path))
    assert round(shape.parameters / 1e9, 1) == billions
    assert shape.kv_bytes_per_token(2) == cache and shape.image_tokens == film


def test_the_state_of_a_sequence_in_linear_attention(tmp_path):
    """For each of 24 layers 32 heads of 128 × 128 numbers, and three inputs of the convolution; all in float32."""
    published("Qwen3.5-4B", tmp_path)
    shape = shape_of(ModelConfig(path=tmp_path))
    assert shape.state_bytes == 24 * (32 * 128 * 128 + 3 * 8192) * 4
    config = json.loads((tmp_path / "config.json").read_text())
    assert shape.parameters - shape.trained == 0 and config["text_config"]["mtp_num_hidden_layers"] == 1


def test_the_tower_for_sounds_is_not_trained(tmp_path):
    published("gemma-4-E2B-it", tmp_path)
    shape = shape_of(ModelConfig(path=tmp_path))
    assert round((shape.parameters - shape.trained) / 1e9, 1) == 0.3
    assert shape.text.intermediate == 2 * 6144 and shape.text.head_dim == 512  # of the widest layers


@pytest.mark.parametrize(
    "name, dtype, images, refused",
    [
        ("Qwen3.5-4B", "float32", False, "linear attention"),
        ("Qwen3.5-4B", "bfloat16", True, None),
        ("GLM-4.1V-9B-Thinking", "float32", True, None),
        ("gemma-4-E2B-it", "float32", True, None),  # its images are read causally
        ("gemma-4-31B-it", "float32", False, None),
        ("gemma-4-31B-it", "float32", True, "causal attention"),
    ],
)
def test_which_published_models_an_engine_on_a_cpu_reads(name, dtype, images, refused, tmp_path):
    published(name, tmp_path)
    family, config = model_family(tmp_path, "--model"), configuration_of(tmp_path, "--model")
    told = family.refused_on_cpu(config, dtype, images)
    assert told is None if refused is None else refused in told


@pytest.mark.parametrize(
    "config, words",
    [
        ({"model_type": "gemma4", "text_config": GEMMA4 | {"enable_moe_block": True, "num_experts": 128}}, "experts"),
        ({"model_type": "qwen3_5_moe", "text_config": {"model_type": "qwen3_5_moe_text"}}, "experts"),
        ({"model_type": "glm4v_moe", "text_config": {"model_type": "glm4v_moe_text"}}, "experts"),
        ({"model_type": "internvl", "text_config": {"model_type": "gpt_oss", "num_local_experts": 32}}, "experts"),
        ({"model_type": "gemma4_unified", "text_config": {"model_type": "gemma4_unified_text"}}, "gemma4, "),
    ],
)
def test_published_models_that_cannot_be_trained(config, words, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    for ask in (lambda: shape_of(ModelConfig(path=tmp_path)), lambda: model_family(tmp_path, "model.path")):
        with pytest.raises(UserError, match=f"model.path: .*config.json: .*{words}"):
            ask()
