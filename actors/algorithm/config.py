"""The typed settings of a training stage: learning rate, algorithm, loss."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from actors.algorithm.advantage import Baseline, Credit, Normalise
from actors.algorithm.presets import PRESETS, check_algorithm
from actors.algorithm.teacher import Teacher, as_list, check_families
from curriculum.strict import Strict

Ratio = Literal["token", "sequence"]
Clip = Literal["ppo", "cispo"]
Aggregation = Literal["token_mean", "sequence_mean", "sequence_sum"]
Estimator = Literal["k1", "k2", "k3"]
Correction = Literal["none", "token", "sequence", "mask"]
Sampling = Literal["uniform", "adaptive"]


class Optimisation(Strict):
    """The learning rate of a stage.

    It rises to `lr` over `warmup_steps`. Then it stays there or, with `decay_steps`, falls in a straight line to zero
    at that step.
    """

    lr: PositiveFloat = 1e-6
    warmup_steps: int = Field(0, ge=0)
    decay_steps: int | None = Field(None, ge=1)

    def rate(self, step: int) -> float:
        """The learning rate of update `step`, counted from 0 in the stage."""
        warmup = min(1.0, (step + 1) / (self.warmup_steps + 1))
        decay = 1.0 if self.decay_steps is None else max(0.0, 1 - step / self.decay_steps)
        return self.lr * warmup * decay


class SftTraining(Optimisation):
    """Cold start: next-token loss on the reference responses."""

    tasks_per_step: PositiveInt = 32


class RftTraining(Optimisation):
    """Rejection-sampling fine-tuning: next-token loss on those of the policy's own responses that the rewards accept.

    A response is accepted if its format is faultless and its outcome is at least `min_outcome`. The total is no
    measure of that: what it is out of depends on the weights of the rules.
    """

    tasks_per_step: PositiveInt = 32
    group_size: PositiveInt = Field(8, description="responses to each task that are sampled")
    min_outcome: float = Field(1.0, gt=0, le=1, description="the least outcome of a response that is learnt from")
    keep: PositiveInt = Field(
        2, description="accepted responses to a task that are learnt from: the best, then those least alike"
    )


class GrpoTraining(Optimisation):
    """A stage of reinforcement learning. Its switches combine freely, except for what `_check_combination` refuses.

    `algorithm` names a set of them, one of `PRESETS`; a key that is given next to it wins. The formulas are in
    `advantage` and `loss`.
    """

    algorithm: Annotated[str, BeforeValidator(check_algorithm)] = "grpo"
    tasks_per_step: PositiveInt = 64
    group_size: PositiveInt = 8
    updates_per_step: PositiveInt = 1
    sampling: Sampling = Field(
        "uniform", description="tasks in random order, or of a few that come next the one expected to teach most"
    )
    credit: Credit = "step"
    process_weight: float = Field(0.5, ge=0)
    baseline: Baseline = Field(
        "group",
        description="what a reward is compared with: the mean of its group, of the other responses in its group, "
        "or of the whole step",
    )
    normalise: Normalise = Field(
        "group", description="advantages are divided by the spread of the group, of the whole step, or by nothing"
    )
    ratio: Ratio = Field(
        "token", description="policy over old policy: for each token, or for the response (the mean over its tokens)"
    )
    clip: Clip = Field("ppo", description="ppo clips the objective; cispo clips the weight of each token's gradient")
    clip_low: PositiveFloat | None = Field(0.2, description="the ratio is clipped below 1 − clip_low; null: no bound")
    clip_high: PositiveFloat | None = Field(0.3, description="the ratio is clipped above 1 + clip_high; null: no bound")
    dual_clip: float | None = Field(
        3.0, gt=1, description="the largest ratio that counts if the advantage is negative; null: no limit"
    )
    aggregation: Aggregation = Field(
        "token_mean",
        description="every token counts the same; every response counts the same; or the sum over tokens is divided by "
        "responses × length_scale",
    )
    count_flat_groups: bool = Field(
        False,
        description="whether groups without any advantage count in the divisor of token_mean and sequence_mean, "
        "as in TRL and verl",
    )
    length_scale: PositiveInt | None = Field(
        None, description="for sequence_sum; defaults to rollout.max_response_tokens"
    )
    kl: float = Field(0.0, ge=0, description="weight of the divergence from the policy at the start of the stage")
    kl_in: Literal["loss", "reward"] = "loss"
    kl_estimator: Estimator = "k3"
    entropy: float = Field(0.0, ge=0, description="weight of the entropy bonus")
    dynamic_sampling: int = Field(
        0,
        ge=0,
        description="the maximum number of rounds in which groups where nothing is better than anything else are "
        "dropped and replaced; 0 keeps them",
    )
    overlong: float = Field(
        0.0, ge=0, le=1, description="the last part of rollout.max_response_tokens, over which a penalty rises"
    )
    overlong_penalty: PositiveFloat = Field(1.0, description="what a response of the maximum length loses")
    truncated: Literal["penalise", "mask"] = "penalise"
    max_staleness: int = Field(
        0, ge=0, description="how many steps generation may run ahead of the learner; 0 is on-policy"
    )
    correction: Correction = Field(
        "none",
        description="for tokens written by other weights or in another precision: truncated importance sampling by "
        "token or by sequence, or a mask",
    )
    correction_cap: float = Field(2.0, gt=1)
    optimiser: Literal["fresh", "keep"] = "fresh"
    reference: Literal["new", "keep"] = "new"
    reference_path: Path | None = Field(
        None, description="folder of the model that KL is measured from, in place of the policy at the stage's start"
    )
    teacher: Annotated[list[Teacher], BeforeValidator(as_list)] = Field(
        [], description="on-policy distillation: a model that scores the policy's own tokens, or one for some families"
    )
    reward_weight: float = Field(
        1.0, ge=0, description="of the rewards' advantage beside a teacher's; 0: distillation alone"
    )

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, settings: Any) -> Any:
        name = settings.get("algorithm") if isinstance(settings, dict) else None
        if isinstance(name, str) and name in PRESETS:
            return {**PRESETS[name], **settings}
        return settings

    @model_validator(mode="after")
    def _check_combination(self) -> GrpoTraining:
        if self.max_staleness and self.correction == "none":
            raise ValueError(
                "max_staleness above 0 trains on tokens that older weights wrote: set correction to token, "
                "sequence or mask"
            )
        if self.clip == "cispo" and self.dual_clip is not None:
            raise ValueError(
                "clip: cispo has no objective that dual_clip could limit: set dual_clip to null, found "
                f"{self.dual_clip:g}"
            )
        if self.baseline == "batch" and self.normalise == "group":
            raise ValueError(
                "baseline: batch compares with all responses of a step, but normalise: group divides by the spread "
                "of a few: set normalise to batch or none"
            )
        if self.group_size == 1 and self.reward_weight and (self.baseline != "batch" or self.dynamic_sampling):
            switch = f"baseline: {self.baseline}" if self.baseline != "batch" else "dynamic_sampling"
            raise ValueError(f"{switch} compares responses to the same task: group_size must be at least 2, found 1")
        if self.group_size == 1 and self.sampling == "adaptive":
            raise ValueError(
                "sampling: adaptive draws tasks whose responses are expected to differ: group_size must be at least 2, "
                "found 1"
            )
        if self.dynamic_sampling and self.baseline == "batch":
            raise ValueError(
                "dynamic_sampling drops groups whose rewards are all equal, but with baseline: batch those still "
                "have a signal: set dynamic_sampling to 0, or baseline to group or leave_one_out"
            )
        return self

    @model_validator(mode="after")
    def _check_other_models(self) -> GrpoTraining:
        check_families(self.teacher)
        if self.reward_weight != 1 and not self.teacher:
            raise ValueError(
                f"reward_weight: {self.reward_weight:g} weighs the rewards against a teacher: without one leave it out"
            )
        if self.dynamic_sampling and self.teaches:
            raise ValueError(
                "dynamic_sampling drops groups whose rewards are all equal, but a teacher teaches on them: set "
                "dynamic_sampling to 0"
            )
        if self.reference_path is not None and not self.kl:
            raise ValueError("reference_path is what KL is measured from: set kl above 0, or leave it out")
        if self.reference_path is not None and self.reference == "keep":
            raise ValueError(
                "reference: keep goes on with another reference than reference_path: leave one of them out"
            )
        return self

    @property
    def teaches(self) -> bool:
        """Whether a teacher's judgement changes the weights. One with weight 0 is only measured."""
        return any(teacher.weight for teacher in self.teacher)

    @property
    def reference_folder(self) -> str | None:
        """The absolute path of `reference_path`."""
        return None if self.reference_path is None else str(self.reference_path.absolute())

    def within(self, max_response_tokens: int) -> GrpoTraining:
        """A copy with the default of `length_scale` filled in: the longest response that rollout workers may write."""
        return self.model_copy(update={"length_scale": self.length_scale or max_response_tokens})
