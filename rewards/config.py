"""The reward settings of a recipe: a preset, weights, gates, and rules of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from curriculum.strict import Strict
from rewards.comparison.attributes import Attribute

Gate = Literal["format", "outcome", "batch"]
TIMEOUT_S = 60.0
RETRIES = 2
MAX_PAUSE_S = 8.0  # between two tries


class OwnRule(Strict):
    """A rule of the recipe's own, and how it is called. docs/model-rules.md describes the forms that a rule may have.

    What is None takes its default. A rule that is a plain function takes none of the settings from `concurrency` to
    `cache`, unless it runs in workers of its own.
    """

    rule: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="module:name")
    weight: float = Field(gt=0)
    options: dict[str, Any] = Field({}, description="passed to the function, or to the constructor of a class, by name")
    right_only: bool | None = Field(
        None,
        description="paid to right answers only; by default so if the value is a model's opinion. false lifts it",
    )
    concurrency: PositiveInt | None = Field(
        None, description="calls at once in each reward worker; 32, or 1 if the rule takes batches"
    )
    requests_per_minute: PositiveFloat | None = Field(
        None, description="limit of calls, retries included; the reward workers share it"
    )
    tokens_per_minute: PositiveFloat | None = Field(
        None, description="limit of tokens, for rules that can estimate theirs; the reward workers share it"
    )
    timeout_s: PositiveFloat | None = Field(None, description="for one try; 60")
    retries: NonNegativeInt | None = Field(None, description="further tries after one that failed or timed out; 2")
    cache: Literal["none", "memory", "disk"] | None = Field(
        None, description="where values are kept by content; memory. disk: also in the run folder, for a resumed run"
    )
    workers: PositiveInt | None = Field(
        None, description="workers that run this rule alone; 1 if one of the next three is given, otherwise none"
    )
    cpus: NonNegativeFloat | None = Field(None, description="what Ray reserves for one of these workers; 1")
    gpus: NonNegativeFloat | None = Field(None, description="the same for GPUs; 0")
    runtime_env: dict[str, Any] | None = Field(None, description="Ray's runtime environment of these workers")

    @property
    def own_workers(self) -> int:
        """How many workers run this rule alone; 0 if the reward workers run it."""
        asked = (self.cpus, self.gpus, self.runtime_env)
        return self.workers or int(any(setting is not None for setting in asked))

    @property
    def worker_cpus(self) -> float:
        """What Ray reserves for each of its own workers."""
        return 1.0 if self.cpus is None else self.cpus

    @property
    def worker_gpus(self) -> float:
        return self.gpus or 0.0

    @property
    def try_limit_s(self) -> float:
        """Seconds for one try."""
        return TIMEOUT_S if self.timeout_s is None else self.timeout_s

    @property
    def max_retries(self) -> int:
        return RETRIES if self.retries is None else self.retries


class RewardConfig(Strict):
    """Weights of the parts, and the gates that hold them back.

    `strict` stands for our rules (docs/rewards.md). `paper` gives the numbers of CX-Mind's code, faults included; it
    takes none of the other settings.
    """

    preset: Literal["strict", "paper"] = "strict"
    format: float = Field(0.1, ge=0)
    outcome: float = Field(0.9, gt=0)
    process: float = Field(0.3, ge=0)
    reason: float = Field(0.2, ge=0, description="grounding of the think blocks; 0 also saves its computation")
    gates: tuple[Gate, ...] = Field(
        ("format", "outcome"),
        description="format: a malformed response earns nothing; outcome: process and reason are paid to right answers "
        "only; batch: and only while the mean outcome of the batches does not fall",
    )
    max_candidates: int = Field(
        6, ge=1, description="a list with more names than this, and more than one beyond the gold, earns nothing"
    )
    length: tuple[float, float] = Field(
        (0.5, 2.0), description="limits of words of a text / words of the gold, between which nothing is lost"
    )
    rarity: float = Field(
        0,
        ge=0,
        le=1,
        description="a finding weighs (share of the commonest / its own share of the train films) to this power in the "
        "F1 of names and texts",
    )
    finding_weights: dict[str, float] = Field(
        {}, description="weights of findings; `rarity` sets them from the train tasks"
    )
    attributes: tuple[Attribute, ...] = Field(
        (), description="what else of a finding must fit if the gold or the reference gives it: side, severity, place"
    )
    own: dict[str, OwnRule] = Field({})

    @property
    def batch_gate(self) -> bool:
        return self.preset == "paper" or "batch" in self.gates

    def weighted_by(self, shares: Mapping[str, float]) -> RewardConfig:
        """The same settings with `finding_weights` from each finding's share of the train films, if `rarity` is set.

        Weights that the recipe gives stay as they are.
        """
        seen = {name: share for name, share in shares.items() if share > 0}
        if not self.rarity or not seen:
            return self
        largest = max(seen.values())
        weights = {name: (largest / share) ** self.rarity for name, share in seen.items()}
        return self.model_copy(update={"finding_weights": weights | self.finding_weights})

    @model_validator(mode="after")
    def _outcome_leads(self) -> RewardConfig:
        if self.process + self.reason >= self.outcome:
            raise ValueError(
                f"process {self.process:g} and reason {self.reason:g} together must weigh less than outcome "
                f"{self.outcome:g}"
            )
        if self.preset == "paper" and (extra := sorted(self.model_fields_set - {"preset"})):
            raise ValueError(f"the preset paper takes no other setting, found {', '.join(extra)}")
        low, high = self.length
        if not 0 < low <= 1 <= high:
            raise ValueError(
                f"length {list(self.length)} must hold a low end of at most 1 and a high end of at least 1"
            )
        return self
