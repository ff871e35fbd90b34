"""Qwen3.5, dense: images as in Qwen3-VL, and layers of linear attention (gated delta nets) between those of attention.

Such a layer keeps a state over a whole row, which cannot be set back inside it, so samples are padded. Heads that
predict several tokens are neither trained nor stored: transformers has no class for them.
"""

from __future__ import annotations

from dataclasses import replace

from actors.model.families.qwen_vl import QWEN_VL

QWEN3_5 = replace(
    QWEN_VL,
    model_types=("qwen3_5",),
    linear_attention=True,
    unread_weights=True,
    adapters_alone=frozenset(),
)
