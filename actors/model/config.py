"""Settings of low-rank adapters, and how much of a model is handled at a time."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt

from actors.model.model_parts import Part
from curriculum.strict import Strict

LOGITS_AT_ONCE = 2**23  # numbers of the [tokens × vocabulary] matrix that the output layer holds at a time on a CPU
LOGITS_AT_ONCE_ON_GPU = 2**26  # many words at a time: a GPU is busy only with large products
WEIGHTS_AT_ONCE = 2**29  # bytes that ZeRO-3 gathers, and that travel, at a time


class Lora(Strict):
    """Low-rank adapters; with them nothing else is trained.

    They travel to the engines alone where vLLM can add them to the base weights, else merged into these; exported
    models have them merged.
    """

    rank: PositiveInt = 32
    alpha: PositiveFloat = Field(64, description="an adapter's share is multiplied by alpha / rank")
    targets: tuple[Part, ...] = Field(("language",), min_length=1, description="parts whose linear layers get one each")
