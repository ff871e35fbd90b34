"""/v1/rewards: verdicts on responses, by the rules that train."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.exceptions import RayError

from rewards.config import RewardConfig
from rewards.verdict import Verdict

from ..errors import UserError
from ..reward_explain import payments
from ..reward_file import Row, read_row

SCORER, TIMEOUT_S = "Scorer", 30
EXAMPLE = {"domain": "closed", "options": {"A": "Effusion", "B": "No finding"}, "gold": ["A"],
           "response": "<think>The right angle is blunt.</think><answer>A ✅</answer><think>So it is A.</think><answer>A</answer>"}


class Response(BaseModel):
    """A task and one response to it; as a line of `curlvpr reward score`."""

    model_config = ConfigDict(extra="forbid")

    domain: Literal["closed", "open"]
    form: Literal["letters", "names", "text", "boxes"] | None = Field(None, description="of the gold: letters where closed, "
                                                                      "names where open, if left out")
    question: str | None = None
    options: dict[str, str] | list[str] | None = Field(None, description="of a closed task: letters and texts")
    gold: list[str | list[float]] | str
    reference: str | None = Field(None, description="the gold trace")
    response: str = Field(max_length=1_000_000)
    truncated: bool = False


class ScoreRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    preset: Literal["strict", "paper"] = "strict"
    responses: list[Response] = Field(min_length=1, max_length=1024)


class StepJudgement(BaseModel):
    start: int = Field(description="characters of the response")
    end: int
    candidate: str | None
    judgement: Literal["right", "wrong", "unverifiable", "fault"]
    score: float
    why: str
    grounding: float | None


class Judgement(BaseModel):
    """A verdict: what a response is worth, in parts, and why."""

    total: float
    base: float
    format: float
    outcome: float
    process: float
    reason: float
    answer: list[str] | None
    steps: list[StepJudgement]
    faults: list[dict[str, Any]]
    why: list[str]


class ScoreAnswer(BaseModel):
    verdicts: list[Judgement] = Field(description="in the order of the responses")


class Points(BaseModel):
    part: str
    value: float
    weight: float
    points: float
    held: str = Field(description="which gate holds the points back, and why; empty where none does")


class Explanation(BaseModel):
    verdict: Judgement
    points: list[Points] = Field(description="their sum is the verdict's total")


@serve.deployment(name=SCORER, max_ongoing_requests=16,
                  autoscaling_config={"min_replicas": 1, "max_replicas": 8, "target_ongoing_requests": 4},
                  ray_actor_options={"num_cpus": 0.25})
class Scorer:
    """Scores on CPUs; more replicas come with more requests."""

    def __repr__(self) -> str:
        return "scorer"

    def score(self, rows: list[Row], preset: str) -> list[Verdict]:
        config = RewardConfig(preset=preset)
        return [row.score(config) for row in rows]


router = APIRouter(prefix="/v1/rewards", tags=["rewards"])


@router.post("/score", response_model=ScoreAnswer)
async def score(request: Annotated[ScoreRequest, Body(openapi_examples={"one": {"value": {"responses": [EXAMPLE]}}})]) -> Any:
    """What each response is worth, in parts, and why."""
    verdicts = await _verdicts(_rows(request.responses, request.preset), request.preset)
    return {"verdicts": [_told(verdict) for verdict in verdicts]}


@router.post("/explain", response_model=Explanation)
async def explain(response: Annotated[Response, Body(openapi_examples={"one": {"value": EXAMPLE}})],
                  preset: Literal["strict", "paper"] = "strict") -> Any:
    """One response: its verdict, and how its points add up."""
    [row] = _rows([response], preset)
    [verdict] = await _verdicts([row], preset)
    return {"verdict": _told(verdict), "points": [
        {"part": p.part, "value": p.value, "weight": p.weight, "points": p.points, "held": p.held}
        for p in payments(row.task, verdict, RewardConfig(preset=preset))]}


def _rows(responses: list[Response], preset: str) -> list[Row]:
    config = RewardConfig(preset=preset)
    try:
        return [read_row(f"responses.{number}", response.model_dump(), config) for number, response in enumerate(responses)]
    except UserError as error:
        raise HTTPException(422, str(error)) from error


async def _verdicts(rows: list[Row], preset: str) -> list[Verdict]:
    scorer = serve.get_deployment_handle(SCORER, serve.get_replica_context().app_name)
    try:
        return await asyncio.wait_for(scorer.score.remote(rows, preset), TIMEOUT_S)
    except (TimeoutError, RayError) as error:
        raise HTTPException(503, f"no scorer answered within {TIMEOUT_S} s; try again later") from error


def _told(verdict: Verdict) -> dict[str, Any]:
    told = verdict.to_dict()
    del told["more"]  # rules of a recipe's own are not run for whoever asks
    return told
