"""A tiny model with random weights of every family that can be trained, made on the spot: nothing is downloaded.

Each has the class, the files, the kind of tokenizer and the form of chat of the published models of its family. Weights
are larger than the usual 0.02, so that what a layer does with an image, a position or a mask shows in the
log-probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from actors.model.families import FAMILIES, ModelFamily
from actors.model.tiny_model import CHAT_TEMPLATE, PLAIN_TOKENS, SPECIAL_TOKENS
from tests.support.models.tiny_gemma import gemma3, gemma4_large, gemma4_small
from tests.support.models.tiny_parts import EYES, MROPE, TEXT, Made, qwen_words, rounded
from tests.support.models.tiny_tokenizers import (
    IMAGES_FIRST,
    INSTRUCTIONS,
    NAMED_TURNS,
    ROLE_TOKENS,
    TEXT_TURNS,
    byte_level,
    sentence_piece,
)


def qwen(
    texts: Sequence[str], name: str, tied: bool, config: type, model: type, text: dict, vision: dict, patch: int
) -> Made:
    tokenizer = byte_level(texts, SPECIAL_TOKENS, "<|im_end|>")
    size = dict(shortest_edge=(8 * patch) ** 2, longest_edge=(8 * patch) ** 2)
    at = tokenizer.convert_tokens_to_ids
    films = hf.Qwen2VLImageProcessor(size=size, patch_size=patch)
    if name == "qwen3_vl":
        processor = hf.Qwen3VLProcessor(
            films, tokenizer, hf.Qwen3VLVideoProcessor(size=size), chat_template=CHAT_TEMPLATE
        )
    else:
        kind = hf.Qwen2VLProcessor if name == "qwen2_vl" else hf.Qwen2_5_VLProcessor
        processor = kind(films, tokenizer, hf.Qwen2VLVideoProcessor(size=size), chat_template=CHAT_TEMPLATE)
    return model(
        config(
            text_config=TEXT
            | dict(
                vocab_size=rounded(tokenizer),
                eos_token_id=at("<|im_end|>"),
                bos_token_id=at("<|endoftext|>"),
                tie_word_embeddings=tied,
            )
            | text,
            vision_config=vision,
            tie_word_embeddings=tied,
            image_token_id=at("<|image_pad|>"),
            video_token_id=at("<|video_pad|>"),
            vision_start_token_id=at("<|vision_start|>"),
            vision_end_token_id=at("<|vision_end|>"),
        )
    ), processor


def qwen2_vl(texts: Sequence[str]) -> Made:
    return qwen(
        texts,
        "qwen2_vl",
        True,
        hf.Qwen2VLConfig,
        hf.Qwen2VLForConditionalGeneration,
        dict(rope_parameters=MROPE),
        dict(depth=2, embed_dim=64, hidden_size=64, num_heads=2, patch_size=14),
        14,
    )


def qwen2_5_vl(texts: Sequence[str]) -> Made:
    return qwen(
        texts,
        "qwen2_5_vl",
        False,
        hf.Qwen2_5_VLConfig,
        hf.Qwen2_5_VLForConditionalGeneration,
        dict(rope_parameters=MROPE),
        dict(
            depth=2,
            hidden_size=64,
            intermediate_size=96,
            num_heads=2,
            out_hidden_size=64,
            fullatt_block_indexes=[1],
            window_size=56,
        ),
        14,
    )


def qwen3_vl(texts: Sequence[str]) -> Made:
    """With deepstack: the first vision layer's features are added to the first text layer's output."""
    return qwen(
        texts,
        "qwen3_vl",
        True,
        hf.Qwen3VLConfig,
        hf.Qwen3VLForConditionalGeneration,
        dict(rope_parameters=MROPE | dict(mrope_interleaved=True), head_dim=32),
        dict(
            depth=2,
            hidden_size=64,
            intermediate_size=96,
            num_heads=2,
            out_hidden_size=64,
            num_position_embeddings=64,
            deepstack_visual_indexes=[0],
            patch_size=16,
        ),
        16,
    )


def qwen3_5(texts: Sequence[str]) -> Made:
    """One layer of linear attention, one of full attention, where a quarter of a head turns with the position."""
    return qwen(
        texts,
        "qwen3_vl",
        True,
        hf.Qwen3_5Config,
        hf.Qwen3_5ForConditionalGeneration,
        dict(
            rope_parameters=MROPE | dict(mrope_section=[2, 1, 1], mrope_interleaved=True, partial_rotary_factor=0.25),
            head_dim=32,
            layer_types=["linear_attention", "full_attention"],
            linear_num_key_heads=1,
            linear_num_value_heads=2,
            linear_key_head_dim=128,
            linear_value_head_dim=128,
        ),
        dict(
            depth=2,
            hidden_size=64,
            intermediate_size=96,
            num_heads=2,
            out_hidden_size=64,
            num_position_embeddings=64,
            patch_size=16,
        ),
        16,
    )


def glm4v(texts: Sequence[str]) -> Made:
    """The positions of its vision tower, made for 56 × 56 pixels, are interpolated for other films."""
    special = [
        "<|endoftext|>",
        "[gMASK]",
        "<sop>",
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
        "<|begin_of_image|>",
        "<|image|>",
        "<|end_of_image|>",
        "<|begin_of_video|>",
        "<|video|>",
        "<|end_of_video|>",
    ]
    tokenizer = byte_level(texts, special, "<|endoftext|>")
    at = tokenizer.convert_tokens_to_ids
    size = dict(shortest_edge=2 * 112**2, longest_edge=2 * 112**2)
    processor = hf.Glm4vProcessor(
        hf.Glm4vImageProcessor(size=size), tokenizer, hf.Glm4vVideoProcessor(size=size), chat_template=ROLE_TOKENS
    )
    model = hf.Glm4vForConditionalGeneration(
        hf.Glm4vConfig(
            text_config=TEXT
            | dict(
                vocab_size=rounded(tokenizer),
                pad_token_id=at("<|endoftext|>"),
                eos_token_id=at("<|endoftext|>"),
                attention_bias=True,  # vLLM wants it said; transformers' class has one in any case
                rope_parameters=MROPE | dict(mrope_section=[2, 3, 3], partial_rotary_factor=0.5),
            ),
            vision_config=dict(
                depth=2,
                hidden_size=64,
                intermediate_size=96,
                num_heads=2,
                out_hidden_size=64,
                image_size=56,
                patch_size=14,
            ),
            image_token_id=at("<|image|>"),
            video_token_id=at("<|video|>"),
            image_start_token_id=at("<|begin_of_image|>"),
            image_end_token_id=at("<|end_of_image|>"),
            video_start_token_id=at("<|begin_of_video|>"),
            video_end_token_id=at("<|end_of_video|>"),
        )
    )
    model.generation_config.eos_token_id = [at("<|endoftext|>"), at("<|user|>"), at("</answer>")]
    return model, processor


def idefics(texts: Sequence[str], name: str) -> Made:
    """Films larger than 56 pixels are cut into tiles of 56 × 56, and a small copy of the whole is put after them."""
    special = [
        "<|endoftext|>",
        "<|im_start|>",
        "<end_of_utterance>",
        "<fake_token_around_image>",
        "<image>",
        "<global-img>",
        *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
    ]
    tokenizer = byte_level(texts, special, "<end_of_utterance>")
    at = tokenizer.convert_tokens_to_ids
    settings = dict(size=dict(longest_edge=112), max_image_size=dict(longest_edge=56))
    parts = dict(tokenizer=tokenizer, image_seq_len=4, chat_template=NAMED_TURNS)
    if name == "smolvlm":
        videos = hf.SmolVLMVideoProcessor(**settings)
        processor = hf.SmolVLMProcessor(hf.SmolVLMImageProcessor(**settings), video_processor=videos, **parts)
        config, model = hf.SmolVLMConfig, hf.SmolVLMForConditionalGeneration
    else:
        processor = hf.Idefics3Processor(hf.Idefics3ImageProcessor(**settings), **parts)
        config, model = hf.Idefics3Config, hf.Idefics3ForConditionalGeneration
    tied = name == "smolvlm"
    return model(
        config(
            text_config=TEXT
            | dict(
                model_type="llama",
                vocab_size=rounded(tokenizer),
                pad_token_id=at("<|endoftext|>"),
                eos_token_id=at("<end_of_utterance>"),
                bos_token_id=at("<|im_start|>"),
                tie_word_embeddings=tied,
            ),
            vision_config=EYES | dict(image_size=56, patch_size=14),
            scale_factor=2,
            tie_word_embeddings=tied,
            image_token_id=at("<image>"),
            pad_token_id=at("<|endoftext|>"),
        )
    ), processor


def llava_onevision(texts: Sequence[str]) -> Made:
    """A film that stands alone is seen whole and in tiles; several films of a prompt only whole."""
    tokenizer = byte_level(texts, ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"], "<|im_end|>")
    at = tokenizer.convert_tokens_to_ids
    grids = [[56, 56], [56, 112], [112, 56], [112, 112]]
    size = dict(height=56, width=56)
    processor = hf.LlavaOnevisionProcessor(
        hf.LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=grids),
        tokenizer,
        hf.LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=IMAGES_FIRST,
    )
    return hf.LlavaOnevisionForConditionalGeneration(
        hf.LlavaOnevisionConfig(
            text_config=qwen_words(tokenizer) | dict(model_type="qwen2", tie_word_embeddings=True),
            vision_config=EYES
            | dict(model_type="siglip_vision_model", image_size=56, patch_size=14, vision_use_head=False),
            image_grid_pinpoints=grids,
            image_token_index=at("<image>"),
            video_token_index=at("<video>"),
            tie_word_embeddings=True,
        )
    ), processor


def internvl(texts: Sequence[str]) -> Made:
    """Films larger than a tile of 56 × 56 are cut into up to four, and a copy of the whole is put after them."""
    named = dict(
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *named.values()]
    tokenizer = byte_level(texts, special, "<|im_end|>", extra_special_tokens=named)
    at = tokenizer.convert_tokens_to_ids
    size = dict(height=56, width=56)
    processor = hf.InternVLProcessor(
        hf.GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=4),
        tokenizer,
        hf.InternVLVideoProcessor(size=size),
        image_seq_length=4,
        chat_template=IMAGES_FIRST.replace("<image>", "<IMG_CONTEXT>"),
    )
    return hf.InternVLForConditionalGeneration(
        hf.InternVLConfig(
            text_config=qwen_words(tokenizer) | dict(model_type="qwen2", tie_word_embeddings=False),
            vision_config=EYES | dict(image_size=[56, 56], patch_size=[14, 14], attention_bias=True),
            tie_word_embeddings=False,
            image_token_id=at("<IMG_CONTEXT>"),
            image_seq_length=4,
        )
    ), processor


def qwen_text(texts: Sequence[str], config: type, model: type, **more: Any) -> Made:
    tokenizer = byte_level(texts, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|im_end|>")
    tokenizer.chat_template = TEXT_TURNS
    return model(config(**qwen_words(tokenizer), tie_word_embeddings=True, **more)), tokenizer


def llama(texts: Sequence[str]) -> Made:
    """With Llama 2's kind of tokenizer and chat, which has no token for padding."""
    tokenizer = sentence_piece(
        texts, ["<unk>", "<s>", "</s>"], PLAIN_TOKENS, prefix=True, bos_token="<s>", eos_token="</s>"
    )
    tokenizer.chat_template = INSTRUCTIONS
    return hf.LlamaForCausalLM(
        hf.LlamaConfig(**TEXT, vocab_size=rounded(tokenizer), bos_token_id=1, eos_token_id=2)
    ), tokenizer


# By `model_type`; what follows it says which kind of the type.
MAKERS: dict[str, Callable[[Sequence[str]], Made]] = {
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_5": qwen3_5,
    "glm4v": glm4v,
    "smolvlm": partial(idefics, name="smolvlm"),
    "idefics3": partial(idefics, name="idefics3"),
    "gemma3": gemma3,
    "gemma4": gemma4_small,
    "gemma4 large": gemma4_large,
    "llava_onevision": llava_onevision,
    "internvl": internvl,
    "qwen2": partial(qwen_text, config=hf.Qwen2Config, model=hf.Qwen2ForCausalLM),
    "qwen3": partial(qwen_text, config=hf.Qwen3Config, model=hf.Qwen3ForCausalLM, head_dim=32),
    "llama": llama,
}


def family(name: str) -> ModelFamily:
    """Of a name in `MAKERS`."""
    return FAMILIES[name.split()[0]]


# Weights that published folders hold and transformers leaves out: a head that predicts several tokens, and the keys of
# a layer that uses those of another.
UNREAD = {
    "qwen3_5": {"mtp.fc.weight": torch.zeros(64, 128)},
    "gemma4": {"model.language_model.layers.2.self_attn.k_proj.weight": torch.zeros(32, 64)},
}


def make_family(name: str, texts: Sequence[str], folder: Path) -> Path:
    """Writes the family's tiny model into `folder`, as `from_pretrained` and vLLM read it."""
    torch.manual_seed(0)
    model, processor = MAKERS[name](texts)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "projection_weight" not in key:
                parameter *= 1 if "embed_tokens" in key or "lm_head" in key else 4
            elif parameter.ndim == 1 and key.endswith("bias"):
                parameter.normal_(std=0.1)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if name in ("gemma3", "llava_onevision"):  # a model that was not loaded forgets this part of its published names
        file = folder / "model.safetensors"
        named = {
            key.replace("vision_tower.", "vision_tower.vision_model."): value for key, value in load_file(file).items()
        }
        save_file(named, file, {"format": "pt"})
    if name in UNREAD:
        file = folder / "model.safetensors"
        save_file(load_file(file) | UNREAD[name], file, {"format": "pt"})
    return folder
