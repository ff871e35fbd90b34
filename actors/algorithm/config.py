"""The typed configuration of a stage's training: learning rate, algorithm, loss."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from actors.algorithm.advantage import Baseline, Credit, Normalise
from curriculum.strict import Strict

Ratio = Literal["token", "sequence"]
Clip = Literal["ppo", "cispo"]
Aggregation = Literal["token_mean", "sequence_mean", "sequence_sum"]
Estimator = Literal["k1", "k2", "k3"]
Correction = Literal["none", "token", "sequence", "mask"]


class Optimisation(Strict):
    """Learning rate of a stage: `warmup_steps` up, then flat, or down to zero in a straight line by `decay_steps`."""

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


PRESETS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "dr_grpo": {"normalise": "none", "aggregation": "sequence_sum", "clip_high": 0.2, "dual_clip": None},
    "dapo": {"clip_high": 0.28, "dual_clip": None, "dynamic_sampling": 3, "overlong": 0.2},
    "gspo": {
        "ratio": "sequence",
        "aggregation": "sequence_mean",
        "clip_low": 3e-4,
        "clip_high": 4e-4,
        "dual_clip": None,
    },
    "cispo": {"clip": "cispo", "clip_low": None, "clip_high": 4.0, "dual_clip": None},
    "rloo": {
        "baseline": "leave_one_out",
        "normalise": "none",
        "aggregation": "sequence_sum",
        "clip_high": 0.2,
        "dual_clip": None,
        "kl_in": "reward",
        "kl_estimator": "k1",
    },
    "reinforce_plus_plus": {
        "baseline": "batch",
        "normalise": "batch",
        "clip_high": 0.2,
        "dual_clip": None,
        "kl_in": "reward",
        "kl_estimator": "k1",
    },
}
"""What the names of algorithms stand for, beside the defaults of `GrpoTraining`: see docs/algorithms.md for the sources."""


class GrpoTraining(Optimisation):
    """A stage of reinforcement learning: switches that go with each other in any combination, unless one is refused below.

    `algorithm` names a set of them, `PRESETS`; a key that is given beside it wins. Formulas: `advantage` and `loss`.
    """

    algorithm: Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo", "reinforce_plus_plus"] = "grpo"
    tasks_per_step: PositiveInt = 64
    group_size: PositiveInt = 8
    updates_per_step: PositiveInt = 1
    credit: Credit = "step"
    process_weight: float = Field(0.5, ge=0)
    baseline: Baseline = Field(
        "group",
        description="what a reward is compared with: the mean of its group, of the group's other "
        "responses, or of the whole step",
    )
    normalise: Normalise = Field(
        "group", description="advantages are divided by the spread of the group, of the whole step, or by nothing"
    )
    ratio: Ratio = Field(
        "token", description="policy over old policy: of each token, or of the response (its tokens' mean)"
    )
    clip: Clip = Field("ppo", description="ppo clips the objective, cispo the weight of each token's gradient")
    clip_low: PositiveFloat | None = Field(0.2, description="the ratio is clipped below 1 − this; null: not")
    clip_high: PositiveFloat | None = Field(0.3, description="and above 1 + this; null: not")
    dual_clip: float | None = Field(
        3.0, gt=1, description="most that a ratio counts where the advantage is negative; null: all"
    )
    aggregation: Aggregation = Field(
        "token_mean",
        description="every token counts the same; every response does; or tokens, divided by responses × length_scale",
    )
    length_scale: PositiveInt | None = Field(
        None, description="of sequence_sum; rollout.max_response_tokens where left out"
    )
    kl: float = Field(0.0, ge=0, description="weight of the divergence from the policy at the start of the stage")
    kl_in: Literal["loss", "reward"] = "loss"
    kl_estimator: Estimator = "k3"
    entropy: float = Field(0.0, ge=0, description="weight of the entropy bonus")
    dynamic_sampling: int = Field(
        0,
        ge=0,
        description="groups in which nothing is better than anything else are dropped and "
        "replaced by others, so many times at most; 0 keeps them",
    )
    overlong: float = Field(
        0.0, ge=0, le=1, description="the last share of rollout.max_response_tokens, over which a punishment rises"
    )
    overlong_penalty: PositiveFloat = Field(1.0, description="what a response of the greatest length loses")
    truncated: Literal["penalise", "mask"] = "penalise"
    max_staleness: int = Field(
        0, ge=0, description="how many steps generation may run ahead of the learner; 0 is on-policy"
    )
    correction: Correction = Field(
        "none",
        description="of tokens that other weights, or another precision, wrote: "
        "truncated importance sampling by token or sequence, or a mask",
    )
    correction_cap: float = Field(2.0, gt=1)
    optimiser: Literal["fresh", "keep"] = "fresh"
    reference: Literal["new", "keep"] = "new"

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        preset = PRESETS.get(given.get("algorithm"), {}) if isinstance(given, dict) else {}
        return {**preset, **given} if preset else given

    @model_validator(mode="after")
    def _switches_go_together(self) -> "GrpoTraining":
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
                "baseline: batch compares with all responses of a step, and normalise: group divides by the spread "
                "of a few: set normalise to batch or none"
            )
        if self.group_size == 1 and (self.baseline != "batch" or self.dynamic_sampling):
            what = f"baseline: {self.baseline}" if self.baseline != "batch" else "dynamic_sampling"
            raise ValueError(f"{what} compares responses to the same task: group_size of at least 2 is needed, found 1")
        if self.dynamic_sampling and self.baseline == "batch":
            raise ValueError(
                "dynamic_sampling drops groups whose rewards are all equal, which teach by baseline: batch: set "
                "dynamic_sampling to 0, or baseline to group or leave_one_out"
            )
        return self

    def within(self, max_response_tokens: int) -> "GrpoTraining":
        """The same with what it takes from the longest response that the rollout workers may write."""
        return self.model_copy(update={"length_scale": self.length_scale or max_response_tokens})
