"""What the tiny models of several families share."""

from __future__ import annotations

from typing import Any

TEXT = dict(
    hidden_size=64,
    num_hidden_layers=2,
    intermediate_size=128,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=4096,
)
MROPE = dict(rope_type="default", rope_theta=10000.0, mrope_section=[4, 6, 6])
EYES = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2)


Made = tuple[Any, Any]  # model and processor


def rounded(tokenizer: Any) -> int:
    """A vocabulary size with rows that only pad it."""
    return -(-(len(tokenizer) + 1) // 64) * 64


def qwen_words(tokenizer: Any) -> dict[str, Any]:
    """A text model's settings with the vocabulary and the ends of Qwen's tokenizers."""
    at = tokenizer.convert_tokens_to_ids
    return TEXT | dict(vocab_size=rounded(tokenizer), eos_token_id=at("<|im_end|>"), bos_token_id=at("<|endoftext|>"))
