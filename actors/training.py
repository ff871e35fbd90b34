"""How the learner is laid out, and what a stage of training is told: the typed configuration of both."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from .advantage import Credit

LOGITS_AT_ONCE = 2**23  # numbers of the [tokens × vocabulary] matrix that the output layer holds at a time
Correction = Literal["none", "token", "sequence", "mask"]


class LearnerConfig(BaseModel):
    """How the learner is laid out; the same through a whole run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workers: PositiveInt = 1
    cpus: PositiveFloat = 1
    gpus: float = Field(0, ge=0)
    placement: Literal["pack", "spread", "strict_pack", "strict_spread"] = Field("pack", description="workers on as few nodes "
                                                                                 "as can be, or on as many; strict: or not at all")
    threads: PositiveInt = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    zero_stage: Literal[0, 1, 2, 3] = 0
    micro_batch_tokens: PositiveInt = Field(8192, description="of a forward and backward; a prompt counts once for its responses")
    bucket_mib: PositiveInt = Field(256, description="of weights that are published at once, and that ZeRO-3 gathers for it")
    clip_grad: PositiveFloat = 1.0
    weight_decay: float = Field(0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    timeout_s: PositiveFloat = Field(600, description="for one order: a step, a commit, the start")
    silent_s: PositiveFloat = Field(120, description="a rank that gives no sign of life for so long is taken for dead; then "
                                    "all ranks start anew from the last commit")


class Optimisation(BaseModel):
    """Learning rate of a stage: `warmup_steps` up, then flat, or down to zero in a straight line by `decay_steps`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lr: PositiveFloat = 1e-6
    warmup_steps: int = Field(0, ge=0)
    decay_steps: int | None = Field(None, ge=1)

    def rate(self, step: int) -> float:
        """The rate of update `step`, counted from 0 in the stage."""
        up = min(1.0, (step + 1) / (self.warmup_steps + 1))
        down = 1.0 if self.decay_steps is None else max(0.0, 1 - step / self.decay_steps)
        return self.lr * up * down


class SftTraining(Optimisation):
    """Cold start: next-token loss on the references."""

    tasks_per_step: PositiveInt = 32


class GrpoTraining(Optimisation):
    """GRPO as PEERS and papers define it: see `advantage` and `loss` for the formulas."""

    tasks_per_step: PositiveInt = 64
    group_size: int = Field(8, ge=2)
    updates_per_step: PositiveInt = 1
    credit: Credit = "step"
    process_weight: float = Field(0.5, ge=0)
    clip_low: PositiveFloat = 0.2
    clip_high: PositiveFloat = 0.3
    dual_clip: PositiveFloat | None = 3.0
    kl: float = Field(0.0, ge=0)
    truncated: Literal["penalise", "mask"] = "penalise"
    max_staleness: int = Field(0, ge=0, description="how many steps generation may run ahead of the learner; 0 is on-policy")
    correction: Correction = Field("none", description="of tokens that other weights, or another precision, wrote: "
                                   "truncated importance sampling by token or sequence, or a mask")
    correction_cap: float = Field(2.0, gt=1)
    optimiser: Literal["fresh", "keep"] = "fresh"
    reference: Literal["new", "keep"] = "new"

    @model_validator(mode="after")
    def _stale_is_corrected(self) -> "GrpoTraining":
        if self.max_staleness and self.correction == "none":
            raise ValueError("max_staleness above 0 trains on tokens that older weights wrote: set correction to token, "
                             "sequence or mask")
        return self
