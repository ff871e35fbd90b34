"""Which part of a vision-language model a parameter belongs to, told from its name."""

from __future__ import annotations

import re
from typing import Literal

Part = Literal["vision", "projector", "language"]

# Names of modules in transformers: Qwen2-VL to Qwen3-VL, SmolVLM and Idefics3, Gemma 3, LLaVA-OneVision.
PROJECTOR = {"merger", "deepstack_merger_list", "connector", "multi_modal_projector", "image_newline"}
VISION = {"visual", "vision_model", "vision_tower"}


def part_of(name: str) -> Part:
    """`vision` for the tower that reads images, `projector` for what leads its features to the language model; the rest is
    `language`, output layer included."""
    modules = set(name.split("."))
    return "projector" if modules & PROJECTOR else "vision" if modules & VISION else "language"


def layer_of(name: str) -> int | None:
    """The number of the language model's layer that a parameter is in, counted from 0; None where it is in none."""
    found = re.search(r"(?:^|\.)layers\.(\d+)\.", name)
    return int(found[1]) if found and part_of(name) == "language" else None


def is_embedding(name: str) -> bool:
    """Of tokens; where it is tied, the output layer's weights are the same."""
    return "embed_tokens" in name.split(".")
