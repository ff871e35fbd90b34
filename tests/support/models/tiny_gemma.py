"""Tiny models of Gemma's types, see `tiny_families`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers as hf

from actors.model.tiny_model import PLAIN_TOKENS
from tests.support.models.tiny_parts import EYES, TEXT, Made, rounded
from tests.support.models.tiny_tokenizers import SYSTEM_IN_USER, TURN_TOKENS, sentence_piece


def gemma3(texts: Sequence[str]) -> Made:
    """One layer with a sliding window shorter than a prompt, one without."""
    tokenizer = sentence_piece(
        texts,
        [
            "<pad>",
            "<eos>",
            "<bos>",
            "<unk>",
            "<start_of_turn>",
            "<end_of_turn>",
            "<start_of_image>",
            "<end_of_image>",
            "<image_soft_token>",
        ],
        ["\n\n", "\n\n\n", "\n\n\n\n", *PLAIN_TOKENS],
        prefix=False,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        extra_special_tokens=dict(
            boi_token="<start_of_image>", eoi_token="<end_of_image>", image_token="<image_soft_token>"
        ),
    )
    at = tokenizer.convert_tokens_to_ids
    processor = hf.Gemma3Processor(
        hf.Gemma3ImageProcessor(size=dict(height=56, width=56)), tokenizer, SYSTEM_IN_USER, image_seq_length=4
    )
    model = hf.Gemma3ForConditionalGeneration(
        hf.Gemma3Config(
            text_config=TEXT
            | dict(
                vocab_size=rounded(tokenizer),
                head_dim=32,
                query_pre_attn_scalar=32,
                sliding_window=32,
                layer_types=["sliding_attention", "full_attention"],
                pad_token_id=0,
                eos_token_id=1,
                bos_token_id=2,
            ),
            vision_config=EYES | dict(image_size=56, patch_size=14, vision_use_head=False),
            mm_tokens_per_image=4,
            boi_token_index=at("<start_of_image>"),
            eoi_token_index=at("<end_of_image>"),
            image_token_index=at("<image_soft_token>"),
        )
    )
    model.generation_config.eos_token_id = [1, at("<end_of_turn>")]
    with torch.no_grad():  # zeros, as the class makes it, would hide every film
        model.model.multi_modal_projector.mm_input_projection_weight.normal_(std=0.1)
    return model, processor


def gemma4(texts: Sequence[str], kind: dict[str, Any], audio: dict[str, Any] | None) -> Made:
    named = dict(
        boi_token="<|image>",
        image_token="<|image|>",
        eoi_token="<image|>",
        boa_token="<|audio>",
        audio_token="<|audio|>",
        eoa_token="<audio|>",
    )
    tokenizer = sentence_piece(
        texts,
        ["<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>", *named.values(), "<|video|>"],
        ["\n\n", "\n\n\n", "\n\n\n\n", *PLAIN_TOKENS],
        prefix=False,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        extra_special_tokens=named,
    )
    at = tokenizer.convert_tokens_to_ids
    films = dict(patch_size=8, max_soft_tokens=70, pooling_kernel_size=2)
    processor = hf.Gemma4Processor(
        hf.Gemma4AudioFeatureExtractor(),
        hf.Gemma4ImageProcessor(**films),
        tokenizer,
        hf.Gemma4VideoProcessor(**films),
        chat_template=TURN_TOKENS,
        image_seq_length=70,
    )
    model = hf.Gemma4ForConditionalGeneration(
        hf.Gemma4Config(
            text_config=TEXT
            | dict(
                vocab_size=rounded(tokenizer),
                vocab_size_per_layer_input=rounded(tokenizer),
                head_dim=32,
                global_head_dim=64,
                sliding_window=32,
                final_logit_softcapping=3.0,
                pad_token_id=0,
                eos_token_id=1,
                bos_token_id=2,
            )
            | kind,
            vision_config=EYES
            | dict(
                num_key_value_heads=2,
                head_dim=32,
                patch_size=8,
                pooling_kernel_size=2,
                use_clipped_linears=True,
                default_output_length=70,
            ),
            audio_config=audio,
            boi_token_id=at("<|image>"),
            eoi_token_id=at("<image|>"),
            image_token_id=at("<|image|>"),
            video_token_id=at("<|video|>"),
            boa_token_id=at("<|audio>"),
            eoa_token_index=at("<audio|>"),
            audio_token_id=at("<|audio|>"),
        )
    )
    model.generation_config.eos_token_id = [1, at("<turn|>")]
    model.generation_config.suppress_tokens = [at("<image|>"), at("<audio|>")]
    return model, processor


def gemma4_small(texts: Sequence[str]) -> Made:
    """The last two of four layers use the keys and values of the first two and have wider MLPs, each layer has an
    embedding of its own, and there is a tower for sounds.
    """
    kind = dict(
        num_hidden_layers=4,
        layer_types=["sliding_attention", "full_attention"] * 2,
        num_kv_shared_layers=2,
        use_double_wide_mlp=True,
        hidden_size_per_layer_input=16,
    )
    audio = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, output_proj_dims=32)
    return gemma4(texts, kind, audio)


def gemma4_large(texts: Sequence[str]) -> Made:
    """An image's tokens attend to each other, and the keys of the layer without a window are its values too."""
    kind = dict(
        layer_types=["sliding_attention", "full_attention"],
        num_key_value_heads=2,
        num_global_key_value_heads=1,
        attention_k_eq_v=True,
        hidden_size_per_layer_input=0,
        use_bidirectional_attention="vision",
    )
    return gemma4(texts, kind, None)
