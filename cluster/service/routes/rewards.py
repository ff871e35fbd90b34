"""/v1/rewards: verdicts on responses, by the rules that train."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from cluster.errors import UserError
from cluster.service.responses import Json
from cluster.standalone.reward_explain import payments
from cluster.standalone.reward_file import Row, read_row
from curriculum.forms import Form
from rewards.config import RewardConfig
from rewards.verdict import Verdict

EXAMPLE = {
    "domain": "closed",
    "options": {"A": "Effusion", "B": "No finding"},
    "gold": ["A"],
    "response": "<think>The right angle is blunt.</think><answer>A ✅</answer><think>So it is A.</think><answer>A</answer>",
}


class ResponseBody(BaseModel):
    """A task and one response to it; as a line of `curlvpr reward score`."""

    model_config = ConfigDict(extra="forbid")

    domain: Literal["closed", "open"]
    form: Form | None = Field(None, description="of the gold: letters where closed, names where open, if left out")
    question: str | None = None
    options: dict[str, str] | list[str] | None = Field(None, description="of a closed task: letters and texts")
    gold: list[str | list[float]] | str
    reference: str | None = Field(None, description="the gold trace")
    response: str = Field(max_length=1_000_000)
    truncated: bool = False


_VERDICT = {
    "total": 1.0,
    "base": 1.0,
    "format": 1.0,
    "outcome": 1.0,
    "process": 0.0,
    "reason": 0.0,
    "answer": ["A"],
    "steps": [
        {
            "start": 0,
            "end": 60,
            "candidate": "A",
            "judgement": "right",
            "score": 0.3,
            "why": "A is in the gold; facts of its think block 0.00",
            "grounding": 0.0,
        },
        {
            "start": 60,
            "end": 104,
            "candidate": None,
            "judgement": "right",
            "score": 1.0,
            "why": "final answer A, gold A",
            "grounding": None,
        },
    ],
    "faults": [],
    "why": ["final answer A, gold A"],
}
_POINTS = {"part": "outcome", "value": 1.0, "weight": 0.9, "points": 0.9, "held": ""}


class ScoreRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    preset: Literal["strict", "paper"] = "strict"
    responses: list[ResponseBody] = Field(min_length=1, max_length=1024)


class StepJudgement(BaseModel):
    start: int = Field(description="characters of the response")
    end: int
    candidate: str | None = None
    judgement: Literal["right", "wrong", "unverifiable", "fault"]
    score: float
    why: str
    grounding: float | None = None


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
    model_config = ConfigDict(json_schema_extra={"examples": [{"verdicts": [_VERDICT]}]})

    verdicts: list[Judgement] = Field(description="in the order of the responses")


class Points(BaseModel):
    part: str
    value: float
    weight: float
    points: float
    held: str = Field(description="which gate holds the points back, and why; empty where none does")


class Explanation(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"verdict": _VERDICT, "points": [_POINTS]}]})

    verdict: Judgement
    points: list[Points] = Field(description="their sum is the verdict's total")


AT_ONCE = (
    100_000  # characters that are scored in milliseconds, between other requests: a thread's turn would take longer
)
router = APIRouter(prefix="/v1/rewards", tags=["rewards"])


@router.post("/score", response_model=ScoreAnswer)
async def score(
    request: Annotated[ScoreRequest, Body(openapi_examples={"one": {"value": {"responses": [EXAMPLE]}}})],
) -> Any:
    """What each response is worth, in parts, and why."""
    if sum(len(one.response) + len(one.reference or "") for one in request.responses) <= AT_ONCE:
        return _scored(request)
    return await asyncio.to_thread(_scored, request)


@router.post("/explain", response_model=Explanation)
def explain(
    response: Annotated[ResponseBody, Body(openapi_examples={"one": {"value": EXAMPLE}})],
    preset: Literal["strict", "paper"] = "strict",
) -> Any:
    """One response: its verdict, and how its points add up."""
    config = RewardConfig(preset=preset)
    [row] = _rows([response], config)
    verdict = row.score(config)
    return {
        "verdict": _told(verdict),
        "points": [
            {
                "part": p.part,
                "value": p.value,
                "weight": p.weight,
                "points": p.points,
                "held": p.held if p.value else "",
            }
            for p in payments(row.task, verdict, config)
        ],
    }


def _scored(request: ScoreRequest) -> Json:
    config = RewardConfig(preset=request.preset)
    verdicts = [_told(row.score(config)) for row in _rows(request.responses, config)]
    return Json(
        {"verdicts": verdicts}
    )  # `ScoreAnswer` is for readers; checking our own numbers takes as long as scoring


def _rows(responses: list[ResponseBody], config: RewardConfig) -> list[Row]:
    try:
        return [
            read_row(f"responses.{number}", response.model_dump(), config) for number, response in enumerate(responses)
        ]
    except UserError as error:
        raise HTTPException(422, str(error)) from error


def _told(verdict: Verdict) -> dict[str, Any]:
    told = verdict.to_dict()
    del told["more"]  # rules of a recipe's own are not run for whoever asks
    return told
