"""Request and response bodies of /v1/rewards, with the examples that the API description shows."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from curriculum.forms import Form
from curriculum.strict import Strict

EXAMPLE: dict[str, Any] = {
    "domain": "closed",
    "options": {"A": "Effusion", "B": "No finding"},
    "gold": ["A"],
    "response": "<think>The right angle is blunt.</think><answer>A ✅</answer>"
    "<think>So it is A.</think><answer>A</answer>",
}
_VERDICT: dict[str, Any] = {
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
            "stake": 1.0,
        },
        {
            "start": 60,
            "end": 104,
            "candidate": None,
            "judgement": "right",
            "score": 1.0,
            "why": "final answer A, gold A",
            "grounding": None,
            "stake": 1.0,
        },
    ],
    "faults": [],
    "why": ["final answer A, gold A"],
}
_POINTS: dict[str, Any] = {"part": "outcome", "value": 1.0, "weight": 0.9, "points": 0.9, "held": ""}


class ResponseBody(Strict):
    """A task and one response to it, as a line of `curlvpr reward score`."""

    domain: Literal["closed", "open"]
    form: Form | None = Field(
        None, description="of the gold; by default letters for a closed task, names for an open one"
    )
    question: str | None = None
    options: dict[str, str] | list[str] | None = Field(None, description="of a closed task: letters and texts")
    gold: list[str | list[float]] | str
    reference: str | None = Field(None, description="the gold trace")
    response: str = Field(max_length=1_000_000)
    truncated: bool = False


class ScoreRequest(Strict):
    preset: Literal["strict", "paper"] = "strict"
    responses: list[ResponseBody] = Field(min_length=1, max_length=1024)


class StepJudgement(BaseModel):
    start: int = Field(description="offset in the response, in characters")
    end: int
    candidate: str | None = None
    judgement: Literal["right", "wrong", "unverifiable", "fault"]
    score: float
    why: str
    grounding: float | None = None
    stake: float = Field(1.0, description="how much the outcome would change with the other mark")


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
    held: str = Field(description="which gate holds the points back, and why; empty if none does")


class Explanation(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"verdict": _VERDICT, "points": [_POINTS]}]})

    verdict: Judgement
    points: list[Points] = Field(description="their sum is the verdict's total")
