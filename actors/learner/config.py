"""How the learner is laid out: the typed configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from actors.model.config import Lora
from actors.model.model_parts import Part
from curriculum.strict import Strict


class Freeze(Strict):
    """Parts of the model that keep the weights they came with."""

    vision: bool = Field(False, description="the tower that reads images")
    projector: bool = Field(False, description="what leads its features to the language model")
    embedding: bool = Field(False, description="of tokens; where it is tied, the output layer as well")
    layers: int = Field(0, ge=0, description="the first so many of the language model")


class LearnerConfig(Strict):
    """How the learner is laid out; the same through a whole run."""

    workers: PositiveInt = 1
    min_workers: PositiveInt | None = Field(
        None,
        description="so few go on where a node is lost and no other has room; all workers "
        "where left out. Nodes must offer the custom resource learner",
    )
    cpus: PositiveFloat = 1
    gpus: float = Field(0, ge=0)
    placement: Literal["pack", "spread", "strict_pack", "strict_spread"] = Field(
        "pack", description="workers on as few nodes as can be, or on as many; strict: or not at all"
    )
    threads: PositiveInt = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    zero_stage: Literal[0, 1, 2, 3] = 0
    offload: Literal["none", "optimiser", "parameters"] = Field(
        "none",
        description="from the GPU to the machine's RAM: the optimiser, which then works there, or the weights as well",
    )
    micro_batch_tokens: PositiveInt = Field(
        8192, description="of a forward and backward; a prompt counts once for its responses"
    )
    gradient_checkpointing: bool = Field(
        False,
        description="keep only each layer's input for the backward, and compute the rest "
        "again there: less memory, a third more work",
    )
    freeze: Freeze = Freeze()
    lora: Lora | None = Field(
        None,
        description="train low-rank adapters alone; their learning rate is commonly ten times that of whole weights",
    )
    lr_scale: dict[Part, PositiveFloat] = Field(
        {}, description="times the stage's learning rate: {vision: 0.1, projector: 0.5}"
    )
    clip_grad: PositiveFloat = 1.0
    weight_decay: float = Field(0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    timeout_s: PositiveFloat = Field(600, description="for one order: a step, a commit, the start")
    silent_s: PositiveFloat = Field(
        120,
        description="a rank that gives no sign of life for so long is taken for dead; then "
        "all ranks start anew from the last commit",
    )

    @property
    def fewest(self) -> int:
        """Ranks without which there is no learner."""
        return self.min_workers or self.workers

    @model_validator(mode="after")
    def _fewer_are_no_more(self) -> "LearnerConfig":
        if self.fewest > self.workers:
            raise ValueError(f"min_workers: {self.min_workers} is more than workers, {self.workers}")
        return self

    @model_validator(mode="after")
    def _zero_can(self) -> "LearnerConfig":
        if self.offload != "none" and not self.gpus:
            raise ValueError(
                f"offload: {self.offload} moves from the GPU to RAM, and with gpus: 0 all is there already; leave it out"
            )
        for wanted, least, why in (
            (self.dtype == "bfloat16", 1, "dtype: bfloat16 needs gradients and master weights in float32"),
            (self.offload == "optimiser", 1, "offload: optimiser needs an optimiser that ZeRO holds"),
            (self.offload == "parameters", 3, "offload: parameters needs weights that ZeRO shards"),
        ):
            if wanted and self.zero_stage < least:
                raise ValueError(
                    f"{why}: set zero_stage to {' or '.join(map(str, range(least, 4)))}, found {self.zero_stage}"
                )
        return self

    @model_validator(mode="after")
    def _what_is_trained_can_be(self) -> "LearnerConfig":
        if self.lora and self.freeze != Freeze():
            raise ValueError(
                "freeze: with lora nothing but adapters is trained; leave it out, and name the parts that get them in "
                "lora.targets"
            )
        idle = (
            {part for part in self.lr_scale if part not in self.lora.targets}
            if self.lora
            else ({part for part in self.lr_scale if getattr(self.freeze, part, False)})
        )
        if idle:
            raise ValueError(
                f"lr_scale: nothing is trained of {' and '.join(sorted(idle))}: leave it out, or "
                f"{'name it in lora.targets' if self.lora else 'out of freeze'}"
            )
        return self
