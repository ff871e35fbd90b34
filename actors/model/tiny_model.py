"""A tiny Qwen2.5-VL made on the spot: the real processor, a tokenizer and a vision tower that are trained in seconds.

It has the class, the chat template and the files of the published model, so that everything downstream (transformers,
vLLM, DeepSpeed) takes the same path as for Qwen2.5-VL-7B. Nothing is downloaded. The published model comes with a
vision tower that was trained on millions of photographs; the tower of the tiny one learns, in seconds, to recognise
the findings of phantoms that are drawn for it alone. Its language part is random: what to say about a film is learnt
in the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import Field

from actors.model.tiny_vision import train_vision
from curriculum.strict import Strict

# Written from the description of the format: it prints what Qwen2.5-VL's template prints for text and image parts.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if loop.first and message.role != 'system' -%}
<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif -%}
<|im_start|>{{ message.role }}
{% if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}
{%- endif -%}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}"""

SPECIAL_TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
PLAIN_TOKENS = ["<think>", "</think>", "<answer>", "</answer>", "✅", "❌"]  # one token each, kept in decoded text


class TinyModelConfig(Strict):
    """Sizes of the tiny model. `image_size`, in pixels, is a multiple of 28: patches of 14 are merged two by two."""

    seed: int = Field(0, description="added to the run's")
    image_size: int = Field(112, ge=28, multiple_of=28)
    hidden: int = Field(128, multiple_of=32)
    layers: int = Field(3, ge=1)
    vision_hidden: int = Field(96, multiple_of=32)
    vision_layers: int = Field(3, ge=1)
    vision_steps: int = Field(
        300, ge=0, description="steps of 32 films in which the vision tower is trained beforehand"
    )


def make_tiny_model(
    config: TinyModelConfig, texts: Iterable[str], folder: Path, say: Callable[[str], None] = lambda line: None
) -> Path:
    """Writes model, tokenizer and processor into `folder`, as `from_pretrained` and vLLM read them.

    Args:
        config: sizes and seed.
        texts: the tokenizer is trained on them; every word in them becomes a token.
        folder: created if missing.
        say: is told what takes long.

    Returns:
        `folder`.
    """
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    processor = _processor(config, texts)
    tokenizer = processor.tokenizer
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    vocabulary = -(-len(tokenizer) // 64) * 64
    torch.manual_seed(config.seed)
    model = Qwen2_5_VLForConditionalGeneration(model_configuration(config, vocabulary, ids))
    with torch.no_grad():  # the usual 0.02 is meant for wide layers; narrow ones would hardly change for a long time
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "embed_tokens" not in name and "lm_head" not in name:
                parameter *= 3
    train_vision(model, processor.image_processor, config.seed, config.vision_steps, say)
    model.generation_config.eos_token_id = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _processor(config: TinyModelConfig, texts: Iterable[str]) -> Any:
    """The real processor with a tokenizer that is trained on `texts`."""
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    pixels = config.image_size**2
    size = {"shortest_edge": pixels, "longest_edge": pixels}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        tokenizer=_train_tokenizer(texts),
        video_processor=Qwen2VLVideoProcessor(size=size),
        chat_template=CHAT_TEMPLATE,
    )


def _train_tokenizer(texts: Iterable[str]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Qwen2TokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        special_tokens=SPECIAL_TOKENS,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    words_of_the_chat = ["system user assistant"] * 50  # so that each of them becomes a token as well
    bpe.train_from_iterator(chain(texts, words_of_the_chat), trainer)
    bpe.add_tokens([AddedToken(token, normalized=False) for token in PLAIN_TOKENS])
    return Qwen2TokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        bos_token=None,
        additional_special_tokens=SPECIAL_TOKENS,
        model_max_length=4096,
    )


def model_configuration(config: TinyModelConfig, vocabulary: int, ids: Mapping[str, int]) -> Any:
    """transformers' configuration of the model.

    Args:
        config: the sizes.
        vocabulary: rows of the embedding.
        ids: of the special tokens.
    """
    from transformers import Qwen2_5_VLConfig

    heads = config.hidden // 32
    vision_heads = config.vision_hidden // 32
    return Qwen2_5_VLConfig(
        text_config=dict(
            vocab_size=vocabulary,
            hidden_size=config.hidden,
            num_hidden_layers=config.layers,
            intermediate_size=3 * config.hidden,
            num_attention_heads=heads,
            num_key_value_heads=max(1, heads // 2),
            max_position_embeddings=4096,
            tie_word_embeddings=False,
            use_sliding_window=False,
            bos_token_id=ids["<|endoftext|>"],
            eos_token_id=ids["<|im_end|>"],
            pad_token_id=ids["<|endoftext|>"],
            rope_parameters=dict(rope_type="default", rope_theta=10000.0, mrope_section=[4, 6, 6]),
        ),
        vision_config=dict(
            depth=config.vision_layers,
            hidden_size=config.vision_hidden,
            intermediate_size=3 * config.vision_hidden,
            num_heads=vision_heads,
            out_hidden_size=config.hidden,
            fullatt_block_indexes=[config.vision_layers - 1],
            window_size=112,
            tokens_per_second=2,
        ),
        tie_word_embeddings=False,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
