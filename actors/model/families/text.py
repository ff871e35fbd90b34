"""Models that read text only."""

from __future__ import annotations

from actors.model.families.base import ModelFamily

TEXT = ModelFamily(model_types=("qwen2", "qwen3", "llama"), adapters_alone=frozenset({"language"}))
