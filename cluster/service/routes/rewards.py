"""/v1/rewards: verdicts on responses, by the rules used in training."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, HTTPException

from cluster.errors import UserError
from cluster.service.responses import Json
from cluster.service.routes.rewards_schema import EXAMPLE, Explanation, ResponseBody, ScoreAnswer, ScoreRequest
from cluster.standalone.reward_explain import payments
from cluster.standalone.reward_file import Row, read_row
from rewards.config import RewardConfig
from rewards.verdict import Verdict

# A request with up to this many characters is scored in the event loop, in milliseconds; a thread would take longer.
MAX_CHARACTERS_INLINE = 100_000
router = APIRouter(prefix="/v1/rewards", tags=["rewards"])


@router.post("/score", response_model=ScoreAnswer)
async def score(
    request: Annotated[ScoreRequest, Body(openapi_examples={"one": {"value": {"responses": [EXAMPLE]}}})],
) -> Any:
    """What each response is worth, in parts, and why."""
    characters = sum(len(body.response) + len(body.reference or "") for body in request.responses)
    if characters <= MAX_CHARACTERS_INLINE:
        return _verdicts(request)
    return await asyncio.to_thread(_verdicts, request)


@router.post("/explain", response_model=Explanation)
def explain(
    response: Annotated[ResponseBody, Body(openapi_examples={"one": {"value": EXAMPLE}})],
    preset: Literal["strict", "paper"] = "strict",
) -> Any:
    """One response: its verdict, and how its points add up."""
    config = RewardConfig(preset=preset)
    [row] = _rows([response], config)
    verdict = row.score(config)
    points = [
        {
            "part": payment.part,
            "value": payment.value,
            "weight": payment.weight,
            "points": payment.points,
            "held": payment.held if payment.value else "",
        }
        for payment in payments(row.task, verdict, config)
    ]
    return {"verdict": _verdict_dict(verdict), "points": points}


def _verdicts(request: ScoreRequest) -> Json:
    config = RewardConfig(preset=request.preset)
    verdicts = [_verdict_dict(row.score(config)) for row in _rows(request.responses, config)]
    # Not validated by `ScoreAnswer`, which only describes the response: validation takes as long as scoring.
    return Json({"verdicts": verdicts})


def _rows(responses: list[ResponseBody], config: RewardConfig) -> list[Row]:
    try:
        return [
            read_row(f"responses.{number}", response.model_dump(), config) for number, response in enumerate(responses)
        ]
    except UserError as error:
        raise HTTPException(422, str(error)) from error


def _verdict_dict(verdict: Verdict) -> dict[str, Any]:
    values = verdict.to_dict()
    del values["more"], values["failed"]  # a recipe's own rules are not run for requests
    return values
