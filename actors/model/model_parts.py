"""Which part of a vision-language model a parameter belongs to, from its name."""

from __future__ import annotations

import re
from typing import Literal

from actors.model.families import FAMILIES

Part = Literal["vision", "projector", "language"]

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def part_of(name: str) -> Part | None:
    """The part that a parameter or module belongs to.

    Returns:
        `vision` for the tower that reads images, `projector` for the modules that lead its features to the language
        model, None for modules that no task reaches, and `language` for the rest, the output layer included.
    """
    modules = set(name.split("."))
    if any(modules & family.unread_modules for family in FAMILIES.values()):
        return None
    if any(modules & family.projector_modules for family in FAMILIES.values()):
        return "projector"
    if any(modules & family.vision_modules for family in FAMILIES.values()):
        return "vision"
    return "language"


def layer_of(name: str) -> int | None:
    """The layer of the language model that a parameter belongs to, counted from 0; None if it belongs to none."""
    match = _LAYER.search(name)
    if match is None or part_of(name) != "language":
        return None
    return int(match[1])


def is_embedding(name: str) -> bool:
    """Whether a parameter is the token embedding. If the embedding is tied, it is the output layer's weight too."""
    return not {"embed_tokens", "embed_tokens_per_layer"}.isdisjoint(name.split("."))
