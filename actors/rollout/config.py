"""How many rollout workers there are, what each holds, and how they sample: the typed configuration."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from actors.rollout.engine_options import check_engine_options
from actors.rollout.probe import default_tolerance
from curriculum.strict import Strict


class RolloutConfig(Strict):
    """How many workers, what each holds, and how they sample."""

    workers: PositiveInt = 1
    min: PositiveInt | None = Field(
        None,
        description="with max: the number of workers follows the balance between the time "
        "that responses take and the time that learning takes",
    )
    max: PositiveInt | None = None
    cpus: PositiveFloat = 1
    gpus: float = Field(0, ge=0, description="of one worker; its tensor-parallel size if above 1")
    placement: Literal["pack", "spread"] = Field(
        "pack", description="workers on as few nodes as possible, or on as many"
    )
    dtype: str = "float32"
    temperature: PositiveFloat = 1.0
    top_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="sample only from the most probable words that together have this probability; the learner counts "
        "all words, so `correction` must be token or sequence",
    )
    top_k: PositiveInt | None = Field(None, description="sample only from so many words; as top_p")
    min_p: float = Field(
        0.0, ge=0, lt=1, description="sample only from words with this share of the best one's probability; as top_p"
    )
    stop: tuple[str, ...] = Field(
        (), description="texts that end a response; it is trained on as it was written, without an end token"
    )
    max_response_tokens: PositiveInt = 128
    max_model_tokens: PositiveInt = 512
    max_sequences: PositiveInt = 256
    max_batched_tokens: PositiveInt = 16384
    threads: PositiveInt = Field(1, description="of one worker's engine, on CPU")
    film_threads: PositiveInt | None = Field(
        None, description="that read films for a worker's engine; as many as `cpus` where left out"
    )
    kv_cache_gib: PositiveInt = Field(1, description="on CPU; on a GPU `gpu_memory` rules")
    gpu_memory: float = Field(
        0.9,
        gt=0,
        le=1,
        description="share of what `gpus` gives a worker: with 0.5, of half a GPU; "
        "with `sleep` of the whole GPU, beside what the learner keeps",
    )
    sleep: bool = Field(
        False,
        description="engines give their GPU memory back while the learner works, if GPUs are few: with "
        "gpus 0.5 each, a rollout worker and a learner share one",
    )
    probe_tolerance: PositiveFloat | None = Field(
        None,
        description="mean log-probability difference between engine and learner of a verified worker; the largest "
        "may be 30 times that; by default 1e-5 in float32, 0.05 in 16 bits",
    )
    engine: dict[str, Any] = Field(
        {},
        description="further arguments of vLLM's engine, such as {quantization: fp8, kv_cache_dtype: fp8}",
    )
    timeout_s: PositiveFloat = Field(
        600, description="for a worker's share of a step, its start, and an update of its weights"
    )
    silent_s: PositiveFloat = Field(60, description="a worker that gives no sign of life for this long is replaced")

    @property
    def tolerance(self) -> float:
        """Of the mean log-probability difference of a verified worker."""
        return default_tolerance(self.dtype) if self.probe_tolerance is None else self.probe_tolerance

    @property
    def film_readers(self) -> int:
        """How many threads of a worker read films."""
        return self.film_threads or max(1, int(self.cpus))

    @property
    def gpu_share(self) -> float:
        """The share that an engine takes of each of its GPUs."""
        return self.gpu_memory if self.sleep else self.gpu_memory * min(1.0, self.gpus)

    @property
    def gpus_at_work(self) -> float:
        """The GPUs that one engine computes on while it is awake; 1 on a CPU."""
        if not self.gpus:
            return 1.0
        return max(1.0, self.gpus) if self.sleep else self.gpus

    @property
    def tells_metrics(self) -> bool:
        """Whether Ray gets vLLM's metrics: on GPUs, or if `engine` says {disable_log_stats: false}."""
        return self.gpus > 0 or self.engine.get("disable_log_stats") is False

    @property
    def leaves_words_out(self) -> bool:
        """Whether tokens are sampled from a part of the vocabulary."""
        return self.top_p < 1 or self.top_k is not None or self.min_p > 0

    @model_validator(mode="after")
    def _validate_engine(self) -> RolloutConfig:
        try:
            check_engine_options(self.engine, self.gpus)
        except ValueError as error:
            raise ValueError(f"engine.{error}") from error
        return self

    @model_validator(mode="after")
    def _validate_range(self) -> RolloutConfig:
        if self.min is None and self.max is None:
            return self
        if self.min is None or self.max is None:
            raise ValueError("min and max of the rollout workers are given together")
        if not self.min <= self.workers <= self.max:
            raise ValueError(f"workers {self.workers} is not between min {self.min} and max {self.max}")
        return self
