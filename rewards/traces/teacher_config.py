"""The settings of a teacher: which model, where it is, and how fast it may be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from curriculum.strict import Strict
from rewards.calls.chat import check_url, key_of

SYSTEM = "You are an experienced chest radiologist who teaches how to read a chest X-ray."


class Engines(Strict):
    """vLLM's engines on the cluster, for a teacher without an endpoint."""

    count: PositiveInt = Field(1, description="engines, each with a copy of the model")
    gpus: NonNegativeFloat = Field(1, description="of each engine; 0 computes on the CPU")
    cpus: PositiveFloat = Field(1, description="what Ray reserves for each engine")
    batch: PositiveInt = Field(256, description="tasks that an engine gets at once")
    max_model_tokens: PositiveInt = Field(8192, description="of prompt and answer together")
    options: dict[str, Any] = Field({}, description="further arguments of vllm.LLM")


class TeacherConfig(Strict):
    """A teacher. With `base_url` it is asked over HTTP; with `engines` it is a model folder in vLLM on the cluster."""

    model: str = Field(min_length=1, description="its name at the endpoint, or its folder")
    base_url: str | None = Field(None, description="the endpoint, such as http://host:8000/v1")
    engines: Engines | None = None
    prompt: Path | None = Field(None, description="a jinja2 file, instead of the prompt that is built in")
    system: str = SYSTEM
    images: bool = Field(False, description="send the films along")
    max_tokens: PositiveInt = 2048
    temperature: NonNegativeFloat = 0.7
    api_key_env: str | None = Field(None, description="the environment variable with the key of the endpoint")
    extra: dict[str, Any] = Field({}, description="further fields of each request")
    concurrency: PositiveInt = Field(16, description="requests at once")
    requests_per_minute: PositiveFloat | None = None
    tokens_per_minute: PositiveFloat | None = Field(None, description="of prompts, estimated, and answers at most")
    timeout_s: PositiveFloat = Field(120, description="for one try")
    retries: NonNegativeInt = Field(5, description="further tries of a request that was not answered")

    @model_validator(mode="after")
    def _has_one_place(self) -> TeacherConfig:
        if (self.base_url is None) == (self.engines is None):
            raise ValueError("give either base_url, an endpoint, or engines, to run the model folder here")
        if self.base_url is not None:
            check_url(self.base_url)
            key_of(self.api_key_env)
        return self
