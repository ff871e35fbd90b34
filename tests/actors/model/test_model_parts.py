import pytest

from actors.model.model_parts import is_embedding, layer_of, part_of

# Names of parameters in published models.
NAMES = [
    ("model.visual.blocks.3.attn.qkv.weight", "vision", None),  # Qwen2.5-VL
    ("model.visual.merger.mlp.0.weight", "projector", None),
    ("model.visual.deepstack_merger_list.0.norm.weight", "projector", None),  # Qwen3-VL
    ("model.language_model.layers.27.mlp.up_proj.weight", "language", 27),
    ("model.vision_model.encoder.layers.5.mlp.fc1.bias", "vision", None),  # SmolVLM
    ("model.connector.modality_projection.proj.weight", "projector", None),
    ("model.text_model.layers.0.self_attn.q_proj.weight", "language", 0),
    ("model.multi_modal_projector.mm_input_projection_weight", "projector", None),  # Gemma 3
    ("model.vision_tower.encoder.layers.1.layer_norm1.weight", "vision", None),
    ("model.image_newline", "projector", None),  # LLaVA-OneVision
    ("model.layers.11.input_layernorm.weight", "language", 11),  # Llama
    ("lm_head.weight", "language", None),
    ("model.norm.weight", "language", None),
]


@pytest.mark.parametrize(("name", "part", "layer"), NAMES)
def test_part_and_layer_of_published_names(name, part, layer):
    assert part_of(name) == part and layer_of(name) == layer and not is_embedding(name)


def test_the_token_embedding_is_known():
    assert is_embedding("model.language_model.embed_tokens.weight")
    assert not is_embedding("model.visual.patch_embed.proj.weight")
