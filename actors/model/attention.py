"""Attention inside the stretches of one row, as transformers calls it; no mask over the whole row is ever made.

Two functions for transformers' `AttentionInterface`: `packed_attention` for the text layers of a pack, `window_attention` for
a vision tower that attends within images or windows. On a GPU both are torch's variable-length flash attention; elsewhere,
and in float32, one scaled-dot-product attention for each stretch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from actors.model.packing import Segments

PACKED, WINDOWS = "packed", "flash_windows"  # "flash" in a name has transformers hand over the windows' borders


def register() -> None:
    """Makes both known to transformers under their names."""
    AttentionInterface.register(PACKED, packed_attention)
    AttentionInterface.register(WINDOWS, window_attention)


class RowSegments:
    """A pack's segments with what the GPU's kernel needs: borders of queries and keys, and which key is which token."""

    def __init__(self, segments: Segments, device: torch.device) -> None:
        self.lengths, self.prompts = segments.lengths, segments.prompts
        keys, counts = segments.keys()
        borders = lambda lengths: torch.tensor((0, *lengths)).cumsum(0).to(device, torch.int32)  # noqa: E731
        self.keys = torch.as_tensor(keys, device=device)
        self.query_borders, self.key_borders = borders(self.lengths), borders(counts.tolist())
        self.most_queries, self.most_keys = max(self.lengths), int(counts.max())


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    segments: RowSegments | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """query [1, heads, tokens, head size], key and value with as many heads or a part of it → ([1, tokens, heads, head size], None).

    `segments` comes through the model's own keyword arguments.
    """
    if segments is None:
        raise ValueError(
            "packed attention needs segments; a padded batch needs a model that was loaded with packed=False"
        )
    if _flash(query):
        # A causal mask is aligned to the last key here, so that a response's tokens see all of their prompt.
        from torch.nn.attention.varlen import varlen_attn

        row = lambda heads: heads[0].transpose(0, 1)  # noqa: E731
        out = varlen_attn(
            row(query).contiguous(),
            row(key)[segments.keys],
            row(value)[segments.keys],
            segments.query_borders,
            segments.key_borders,
            segments.most_queries,
            segments.most_keys,
            scale=scaling,
            window_size=(-1, 0),
            enable_gqa=True,
        )
        return out[None], None
    parts = zip(
        *(part.split(segments.lengths, 2) for part in (query, _repeat(key, query), _repeat(value, query))), strict=True
    )
    stretches, outs = list(parts), []
    for (q, k, v), prompt in zip(stretches, segments.prompts, strict=True):
        if prompt is None:
            outs.append(scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling))
            continue
        before = stretches[prompt]
        known, own = before[0].shape[2], q.shape[2]
        k, v = torch.cat([before[1], k], 2), torch.cat([before[2], v], 2)
        if (
            known < own
        ):  # the kernel skips what is above the diagonal: cheaper with the prompt's queries than with a mask
            outs.append(
                scaled_dot_product_attention(torch.cat([before[0], q], 2), k, v, is_causal=True, scale=scaling)[
                    :, :, known:
                ]
            )
        else:
            mask = torch.ones(own, known + own, dtype=torch.bool, device=q.device).tril(known)
            outs.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scaling))
    return torch.cat(outs, 2).transpose(1, 2), None


def window_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """As `packed_attention`; every token sees its whole window. `cu_seq_lens_q`: int32 [windows + 1], the windows' borders."""
    if _flash(query):
        from torch.nn.attention.varlen import varlen_attn

        row = lambda heads: heads[0].transpose(0, 1).contiguous()  # noqa: E731
        out = varlen_attn(
            row(query),
            row(key),
            row(value),
            cu_seq_lens_q,
            cu_seq_lens_q,
            int(max_length_q),
            int(max_length_q),
            scale=scaling,
        )
        return out[None], None
    lengths = cu_seq_lens_q.diff().tolist()
    if len(set(lengths)) == 1:  # [windows, heads, window, head size]
        batch = lambda heads: heads[0].unflatten(1, (len(lengths), -1)).transpose(0, 1)  # noqa: E731
        out = scaled_dot_product_attention(batch(query), batch(key), batch(value), scale=scaling)
        return out.transpose(1, 2).flatten(0, 1)[None], None
    windows = zip(*(part.split(lengths, 2) for part in (query, key, value)), strict=True)
    return torch.cat([scaled_dot_product_attention(q, k, v, scale=scaling) for q, k, v in windows], 2).transpose(
        1, 2
    ), None


def _flash(query: Tensor) -> bool:
    return query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)


def _repeat(heads: Tensor, query: Tensor) -> Tensor:
    """Keys or values with a head for every query head."""
    return heads.repeat_interleave(query.shape[1] // heads.shape[1], 1) if heads.shape[1] < query.shape[1] else heads
