"""Request and response bodies of /v1/runs, with the examples that the API description shows."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from actors.learner.profiler import MAX_STEPS
from curriculum.strict import Strict

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
EXAMPLE: dict[str, Any] = {
    "name": "quickstart",
    "data": {"phantoms": {}},
    "model": {"tiny": {}},
    "stages": [
        {
            "name": "closed",
            "kind": "grpo",
            "tasks": {"binary": 1},
            "gate": {"measure": "closed_accuracy", "every": 10, "max_steps": 50},
        }
    ],
}
STATUS: dict[str, Any] = {
    "run": "quickstart",
    "status": "running",
    "stage": "closed",
    "stage_step": 3,
    "max_steps": 50,
    "step": 47,
    "version": 50,
    "ledger": {"issued": 64, "trained": 56, "dropped": 0, "in_flight": 8},
}
ROW: dict[str, Any] = {
    "event": "step",
    "stage": "closed",
    "kind": "grpo",
    "step": 47,
    "stage_step": 3,
    "version": 50,
    "reward": 0.61,
}
EVENTS = f"event: status\ndata: {json.dumps(STATUS)}\n\nevent: metrics\nid: 12\ndata: {json.dumps(ROW)}\n\n"


class NewRun(Strict):
    recipe: dict[str, Any] = Field(description="a recipe, as in its YAML file; its root is always the service's")
    name: str | None = Field(
        None, pattern=NAME, description="of the run; by default the recipe's name, with a number if taken"
    )


class Started(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"run": "quickstart-2", "job": "raysubmit_8Xf2mZcVbqTnLwYk"}]}
    )

    run: str
    job: str = Field(description="the Ray job; the dashboard has its log")


class Scale(Strict):
    """Numbers of workers from the next step on; a kind that is left out does not change."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rollout": 4}]})

    rollout: int | None = Field(None, ge=1, le=10_000)
    reward: int | None = Field(None, ge=1, le=10_000)


class Profile(Strict):
    model_config = ConfigDict(json_schema_extra={"examples": [{"steps": 3}]})

    steps: int = Field(3, ge=1, le=MAX_STEPS, description="how many are recorded, from the next one on")


class ControlAnswer(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"run": "quickstart", "asked": "pause"}]})

    run: str
    asked: str = Field(description="the request; it takes effect after the current step")


class Status(BaseModel):
    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [STATUS]})

    run: str
    status: str


class Metrics(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"rows": [ROW]}]})

    rows: list[dict[str, Any]] = Field(description="one for each step and each evaluation; `event` is the kind")
