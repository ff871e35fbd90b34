"""What a family declares, and a family that is added from outside."""

import pytest
import torch
import transformers as hf
from PIL import Image

from actors.model.encode import Encoder, PromptConfig
from actors.model.families import FAMILIES, ModelFamily, UnsupportedModel, family_of
from actors.model.families.base import ImageSize, first_setting
from actors.model.model_parts import part_of
from actors.model.policy import Policy
from actors.trajectory import Sample
from tests.support.models.tiny_parts import EYES, TEXT, rounded
from tests.support.models.tiny_tokenizers import IMAGES_FIRST, byte_level

LLAVA = ModelFamily(
    model_types=("llava",),
    image_inputs={"pixel_values": 0},
    vision_modules=frozenset({"vision_tower"}),
    projector_modules=frozenset({"multi_modal_projector"}),
)


@pytest.fixture(scope="module")
def llava(tmp_path_factory, phantom_tasks):
    """The folder of a tiny model of a type that no family here has."""
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"]
    tokenizer = byte_level([task.question for task in phantom_tasks], tokens, "<|im_end|>")
    text = TEXT | dict(model_type="qwen2", vocab_size=rounded(tokenizer))
    vision = EYES | dict(model_type="siglip_vision_model", image_size=56, patch_size=14, vision_use_head=False)
    processor = hf.LlavaProcessor(
        hf.CLIPImageProcessor(size=dict(shortest_edge=56), crop_size=dict(height=56, width=56)),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="full",
        chat_template=IMAGES_FIRST,
    )
    torch.manual_seed(0)
    config = hf.LlavaConfig(
        text_config=text,
        vision_config=vision,
        vision_feature_select_strategy="full",
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    folder = tmp_path_factory.mktemp("llava")
    hf.LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_a_family_from_outside_has_the_numbers_of_its_plain_model(llava, phantom_tasks, monkeypatch):
    with pytest.raises(UnsupportedModel, match="'llava' cannot be trained"):
        Encoder(llava, PromptConfig())
    monkeypatch.setitem(FAMILIES, "llava", LLAVA)
    encoder = Encoder(llava, PromptConfig())
    policy = Policy(llava, encoder, torch.float32)
    task = phantom_tasks[0]
    response = encoder.response_ids("Effusion")
    sample = Sample(encoder.expand(task), task.images, response)
    with torch.no_grad():
        ours, _ = policy(policy.collate([sample, sample], [0, 1], torch.device("cpu")), 1.0, raw=True)

    model = hf.LlavaForConditionalGeneration.from_pretrained(llava, dtype=torch.float32)
    films = [Image.open(path).convert("RGB") for path in task.images]
    inputs = encoder.processor(text=[encoder.prompt_text(task)], images=films, return_tensors="pt")
    prompt = inputs["input_ids"][0]
    assert sample.prompt_ids.tolist() == prompt.tolist()
    ids = torch.tensor(response).long()
    with torch.no_grad():
        logits = model(input_ids=torch.cat([prompt, ids])[None], pixel_values=inputs["pixel_values"]).logits[
            0, len(prompt) - 1 : -1
        ]
    wanted = torch.log_softmax(logits, -1)[range(len(ids)), ids]
    for part in ours.split(len(ids)):
        assert (part - wanted).abs().max() < 1e-5
    assert {part_of(name) for name, _ in policy.model.named_parameters()} == {"vision", "projector", "language"}


def test_every_type_has_one_family_that_knows_it():
    assert all(model_type in family.model_types for model_type, family in FAMILIES.items())
    assert family_of("gemma3").image_marks and not family_of("llama").reads_images
    with pytest.raises(UnsupportedModel, match="'' cannot be trained; those of type qwen2_vl, .* llama can"):
        family_of("")


def test_only_plain_causal_attention_is_packed():
    window = hf.Qwen2Config(layer_types=["full_attention", "sliding_attention"], num_hidden_layers=2)
    causal = hf.Qwen2Config(num_hidden_layers=2)
    assert family_of("qwen2").can_pack(causal) and not family_of("qwen2").can_pack(window)
    assert not ModelFamily(("x",), {"pixel_values": 0}, image_marks="token_type_ids").can_pack(causal)


def test_the_first_file_that_knows_a_setting_counts():
    files = [{}, {"size": None}, {"size": {"longest_edge": 7}}, {"size": {"longest_edge": 9}}]
    assert first_setting(files, lambda settings: settings["size"]["longest_edge"]) == 7
    assert first_setting(files[:2], lambda settings: settings["size"]["longest_edge"]) is None


@pytest.mark.parametrize(
    ("model_type", "config", "settings", "wanted"),
    [
        # 1024 × 1024 pixels, 28 × 28 of them a token.
        ("qwen2_5_vl", hf.Qwen2_5_VLConfig(), {"max_pixels": 1024**2}, ImageSize(4, 1024**2 // 28**2)),
        ("qwen2_5_vl", hf.Qwen2_5_VLConfig(), {}, ImageSize(4, None)),
        # Four by four tiles of 364 pixels and the whole, 13 × 13 tokens each.
        (
            "idefics3",
            hf.Idefics3Config(vision_config=dict(image_size=364, patch_size=14), scale_factor=2),
            {"size": {"longest_edge": 4 * 364}, "max_image_size": {"longest_edge": 364}},
            ImageSize(4, 17 * 13**2),
        ),
        # Twelve tiles of 448 pixels and the whole, 16 × 16 tokens each.
        ("internvl", hf.InternVLConfig(), {"max_patches": 12}, ImageSize(4, 13 * 16**2)),
        ("internvl", hf.InternVLConfig(), {"max_patches": 1}, ImageSize(4, 16**2)),
        # 15,000 times 28 × 28 pixels, each counted twice.
        ("glm4v", hf.Glm4vConfig(), {"size": {"longest_edge": 28 * 28 * 15000}}, ImageSize(4, 7500)),
        ("glm4v", hf.Glm4vConfig(), {"max_pixels": 28 * 28 * 100}, ImageSize(4, 100)),
        ("gemma4", hf.Gemma4Config(vision_config={}), {"max_soft_tokens": 280}, ImageSize(9, 280)),
        ("gemma3", hf.Gemma3Config(vision_config=dict(image_size=896, patch_size=14)), {}, ImageSize(16, 256)),
    ],
)
def test_the_largest_image_of_a_published_configuration(model_type, config, settings, wanted):
    largest_image = family_of(model_type).largest_image
    assert largest_image is not None and largest_image(config, [settings]) == wanted


def test_a_picture_of_llava_onevision_has_the_tokens_of_its_largest_grid():
    """Two tiles side by side: the whole and each row of tiles, with a token at the end of each row."""
    config = hf.LlavaOnevisionConfig(
        vision_config=dict(model_type="siglip_vision_model", image_size=56, patch_size=14),
        image_grid_pinpoints=[[56, 56], [56, 112]],
    )
    largest_image = family_of("llava_onevision").largest_image
    assert largest_image is not None and largest_image(config, []) == ImageSize(1, 4 * 4 + 4 * (8 + 1))
