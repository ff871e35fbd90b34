"""Attention inside the segments of one row, as transformers calls it; a mask over the whole row is never made.

Two functions for transformers' `AttentionInterface`: `packed_attention` for the text layers of a pack, and
`window_attention` for a vision tower that attends within images or windows. On a GPU both are torch's variable-length
flash attention; elsewhere, and in float32, one scaled-dot-product attention for each segment.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from actors.model.packing import Segments

PACKED = "packed"
WINDOWS = "flash_windows"  # "flash" in a name makes transformers pass the borders of the windows


def register() -> None:
    """Registers both functions with transformers, by their names."""
    AttentionInterface.register(PACKED, packed_attention)
    AttentionInterface.register(WINDOWS, window_attention)


class RowSegments:
    """A pack's segments with what the GPU's kernel needs.

    Attributes:
        lengths: see `Segments`.
        prompts: see `Segments`.
        keys: int64 [keys]: which token of the row each key is, segment after segment.
        query_borders: int32 [segments + 1]: where each segment's queries start.
        key_borders: int32 [segments + 1]: where each segment's keys start.
        max_queries: of one segment.
        max_keys: of one segment.
    """

    def __init__(self, segments: Segments, device: torch.device) -> None:
        keys, counts = segments.keys()
        self.lengths = segments.lengths
        self.prompts = segments.prompts
        self.keys = torch.as_tensor(keys, device=device)
        self.query_borders = _borders(list(self.lengths), device)
        self.key_borders = _borders(counts.tolist(), device)
        self.max_queries = max(self.lengths)
        self.max_keys = int(counts.max())


def _borders(lengths: list[int], device: torch.device) -> Tensor:
    """int32 [lengths + 1]: where each of several stretches, end to end, starts, and where the last one ends."""
    return torch.tensor((0, *lengths)).cumsum(0).to(device, torch.int32)


def packed_attention(
    module: nn.Module | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    segments: RowSegments | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside the segments of a pack; a response's tokens also see all of their prompt.

    Args:
        module: not used.
        query: [1, heads, tokens, head size].
        key: [1, key heads, tokens, head size]; each of its heads serves as many heads of queries.
        value: as `key`.
        attention_mask: not used.
        scaling: of the scores.
        segments: passed through the model's own keyword arguments.

    Returns:
        ([1, tokens, heads, head size], None).

    Raises:
        ValueError: there are no segments.
    """
    if segments is None:
        raise ValueError(
            "packed attention needs segments; a padded batch needs a model that was loaded with packed=False"
        )
    if _can_use_flash(query):
        return _flash_packed(query, key, value, scaling, segments), None
    queries = query.split(segments.lengths, 2)
    keys = _repeat(key, query).split(segments.lengths, 2)
    values = _repeat(value, query).split(segments.lengths, 2)
    outputs = []
    for i, prompt in enumerate(segments.prompts):
        if prompt is None:
            outputs.append(scaled_dot_product_attention(queries[i], keys[i], values[i], is_causal=True, scale=scaling))
            continue
        known, own = queries[prompt].shape[2], queries[i].shape[2]
        k = torch.cat([keys[prompt], keys[i]], 2)
        v = torch.cat([values[prompt], values[i]], 2)
        if known < own:
            # The kernel skips what is above the diagonal: reading the prompt's queries again is cheaper than a mask.
            q = torch.cat([queries[prompt], queries[i]], 2)
            output = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling)[:, :, known:]
        else:
            mask = torch.ones(own, known + own, dtype=torch.bool, device=query.device).tril(known)
            output = scaled_dot_product_attention(queries[i], k, v, attn_mask=mask, scale=scaling)
        outputs.append(output)
    return torch.cat(outputs, 2).transpose(1, 2), None


def _flash_packed(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, segments: RowSegments) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    # This kernel aligns a causal mask to the last key, so that a response's tokens see all of their prompt.
    output = varlen_attn(
        _by_token(query).contiguous(),
        _by_token(key)[segments.keys],
        _by_token(value)[segments.keys],
        segments.query_borders,
        segments.key_borders,
        segments.max_queries,
        segments.max_keys,
        scale=scaling,
        window_size=(-1, 0),
        enable_gqa=True,
    )
    return output[None]


def window_attention(
    module: nn.Module | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention inside windows, end to end in one row; every token sees its whole window.

    Args:
        module: not used.
        query: [1, heads, tokens, head size].
        key: as `query`.
        value: as `query`.
        attention_mask: not used.
        scaling: of the scores.
        cu_seq_lens_q: int32 [windows + 1], the borders of the windows.
        max_length_q: tokens of the longest window.

    Returns:
        ([1, tokens, heads, head size], None).

    Raises:
        ValueError: there are no borders.
    """
    if cu_seq_lens_q is None or max_length_q is None:
        raise ValueError("window attention needs the borders of the windows and the length of the longest")
    if _can_use_flash(query):
        from torch.nn.attention.varlen import varlen_attn

        longest = int(max_length_q)
        output = varlen_attn(
            _by_token(query).contiguous(),
            _by_token(key).contiguous(),
            _by_token(value).contiguous(),
            cu_seq_lens_q,
            cu_seq_lens_q,
            longest,
            longest,
            scale=scaling,
        )
        return output[None], None
    lengths = cu_seq_lens_q.diff().tolist()
    if len(set(lengths)) == 1:
        q, k, v = (_as_batch(heads, len(lengths)) for heads in (query, key, value))
        output = scaled_dot_product_attention(q, k, v, scale=scaling)
        return output.transpose(1, 2).flatten(0, 1)[None], None
    windows = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    outputs = [scaled_dot_product_attention(q, k, v, scale=scaling) for q, k, v in windows]
    return torch.cat(outputs, 2).transpose(1, 2), None


def _can_use_flash(query: Tensor) -> bool:
    return query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)


def _by_token(heads: Tensor) -> Tensor:
    """[1, heads, tokens, head size] → [tokens, heads, head size]."""
    return heads[0].transpose(0, 1)


def _as_batch(heads: Tensor, windows: int) -> Tensor:
    """[1, heads, tokens, head size] → [windows, heads, tokens of a window, head size], for windows of equal length."""
    return heads[0].unflatten(1, (windows, -1)).transpose(0, 1)


def _repeat(heads: Tensor, query: Tensor) -> Tensor:
    """Keys or values with one head for every head of the queries."""
    if heads.shape[1] < query.shape[1]:
        return heads.repeat_interleave(query.shape[1] // heads.shape[1], 1)
    return heads
