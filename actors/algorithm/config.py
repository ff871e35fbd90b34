"""How the learner is laid out, and what a stage of training is told: the typed configuration of both."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from actors.algorithm.advantage import Baseline, Credit, Normalise
from actors.model.model_parts import Part
from curriculum.strict import Strict

LOGITS_AT_ONCE = 2**23  # numbers of the [tokens × vocabulary] matrix that the output layer holds at a time
WEIGHTS_AT_ONCE = 2**29  # bytes that ZeRO-3 gathers, and that travel, at a time
Ratio = Literal["token", "sequence"]
Clip = Literal["ppo", "cispo"]
Aggregation = Literal["token_mean", "sequence_mean", "sequence_sum"]
Estimator = Literal["k1", "k2", "k3"]
Correction = Literal["none", "token", "sequence", "mask"]


class Freeze(Strict):
    """Parts of the model that keep the weights they came with."""

    vision: bool = Field(False, description="the tower that reads images")
    projector: bool = Field(False, description="what leads its features to the language model")
    embedding: bool = Field(False, description="of tokens; where it is tied, the output layer as well")
    layers: int = Field(0, ge=0, description="the first so many of the language model")


class Lora(Strict):
    """Low-rank adapters, the only thing that is trained then. They are merged into the weights that are published and exported."""

    rank: PositiveInt = 32
    alpha: PositiveFloat = Field(64, description="an adapter's share is multiplied by alpha / rank")
    targets: tuple[Part, ...] = Field(("language",), min_length=1, description="parts whose linear layers get one each")


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
