"""How the learner is laid out: the typed configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from actors.model.config import Lora
from actors.model.model_parts import Part
from curriculum.strict import Strict


class Freeze(Strict):
    """Parts of the model that keep their initial weights."""

    vision: bool = Field(False, description="the tower that reads images")
    projector: bool = Field(False, description="what maps its features to the language model")
    embedding: bool = Field(False, description="of tokens; if it is tied, the output layer as well")
    layers: int = Field(0, ge=0, description="how many of the language model's layers, from the first")


class LearnerConfig(Strict):
    """How the learner is laid out; the same throughout a run."""

    workers: PositiveInt = 1
    min_workers: PositiveInt | None = Field(
        None,
        description="the fewest ranks to go on with if a node is lost and no other has room; all workers "
        "if left out. Nodes must offer the custom resource learner",
    )
    cpus: PositiveFloat = 1
    gpus: float = Field(0, ge=0)
    placement: Literal["pack", "spread", "strict_pack", "strict_spread"] = Field(
        "pack", description="workers on as few nodes as possible, or on as many; strict: or not at all"
    )
    threads: PositiveInt = 1
    film_threads: PositiveInt | None = Field(
        None, description="that read a worker's next films while it learns; as many as `cpus` where left out"
    )
    dtype: Literal["float32", "bfloat16"] = "float32"
    zero_stage: Literal[0, 1, 2, 3] = 0
    offload: Literal["none", "optimiser", "parameters"] = Field(
        "none",
        description="from the GPU to the machine's RAM: the optimiser, which then works there, or the weights as well",
    )
    micro_batch_tokens: PositiveInt = Field(
        8192, description="of a forward and backward pass; a prompt counts once for all its responses"
    )
    gradient_checkpointing: bool = Field(
        False,
        description="keep only each layer's input for the backward pass, and compute the rest "
        "again there: less memory, a third more work",
    )
    freeze: Freeze = Freeze()
    lora: Lora | None = Field(
        None,
        description="train only low-rank adapters; their learning rate is commonly ten times that of whole weights",
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
        description="a rank that gives no sign of life for this long counts as dead; then "
        "all ranks restart from the last commit",
    )

    @property
    def film_readers(self) -> int:
        """How many threads of a rank read films."""
        return self.film_threads or max(1, int(self.cpus))

    @property
    def fewest(self) -> int:
        """The fewest ranks that the learner runs with."""
        return self.min_workers or self.workers

    @model_validator(mode="after")
    def _validate_ranks(self) -> LearnerConfig:
        if self.fewest > self.workers:
            raise ValueError(f"min_workers: {self.min_workers} is more than workers, {self.workers}")
        return self

    @model_validator(mode="after")
    def _validate_zero_stage(self) -> LearnerConfig:
        if self.offload != "none" and not self.gpus:
            raise ValueError(
                f"offload: {self.offload} moves from the GPU to RAM, and with gpus: 0 all is there already; "
                "leave it out"
            )
        for applies, min_stage, reason in (
            (self.dtype == "bfloat16", 1, "dtype: bfloat16 needs gradients and master weights in float32"),
            (self.offload == "optimiser", 1, "offload: optimiser needs an optimiser that ZeRO holds"),
            (self.offload == "parameters", 3, "offload: parameters needs weights that ZeRO shards"),
        ):
            if applies and self.zero_stage < min_stage:
                stages = " or ".join(str(stage) for stage in range(min_stage, 4))
                raise ValueError(f"{reason}: set zero_stage to {stages}, found {self.zero_stage}")
        return self

    @model_validator(mode="after")
    def _validate_trained_parts(self) -> LearnerConfig:
        if self.lora and self.freeze != Freeze():
            raise ValueError(
                "freeze: with lora nothing but adapters is trained; leave it out, and name the parts that get them in "
                "lora.targets"
            )
        if self.lora:
            idle = {part for part in self.lr_scale if part not in self.lora.targets}
            remedy = "name it in lora.targets"
        else:
            idle = {part for part in self.lr_scale if getattr(self.freeze, part, False)}
            remedy = "out of freeze"
        if idle:
            raise ValueError(f"lr_scale: nothing is trained of {' and '.join(sorted(idle))}: leave it out, or {remedy}")
        return self
