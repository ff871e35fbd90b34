"""/v1/chat/completions and /v1/models: the policy, for clients of OpenAI's API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Request
from fastapi.responses import Response, StreamingResponse
from ray import serve
from ray.exceptions import RayError

from cluster.service.chat_policy import DEPLOYMENT, TIMEOUT_S, ChatRefused
from cluster.service.responses import error_responses
from cluster.service.routes.chat_schema import EXAMPLE, STREAM, ChatAnswer, ChatRequest, Models

_ERRORS = error_responses(
    {
        400: "the chat cannot be answered, for example because it is too long",
        404: "no such model, or the service was started without one (--policy)",
        503: "no weights yet, or no replica answered in time",
    }
)
router = APIRouter(prefix="/v1", tags=["policy"])


@router.get("/models", response_model=Models)
def models(request: Request) -> Any:
    """The served policy, by the name that a chat gives as `model`."""
    name = request.app.state.policy
    return {"data": [{"id": name}] if name else []}


@router.post(
    "/chat/completions",
    response_model=ChatAnswer,
    responses=_ERRORS | {200: {"content": {"text/event-stream": {"example": STREAM}}}},
)
async def chat(
    request: Request, body: Annotated[ChatRequest, Body(openapi_examples={"a film": {"value": EXAMPLE}})]
) -> Any:
    """Ask the policy, with images, as in OpenAI's chat completions; the answer comes whole or as a stream."""
    name = request.app.state.policy
    if body.model != name:
        served = f"this service has {name!r}" if name else "this service serves none: start it with --policy"
        raise HTTPException(404, f"no model {body.model!r:.120}; {served}")
    policy = serve.get_deployment_handle(DEPLOYMENT, serve.get_replica_context().app_name)
    answer = policy.options(stream=True).chat.remote(body.model_dump(exclude_none=True))
    try:
        first = await asyncio.wait_for(anext(answer), TIMEOUT_S)
    except ChatRefused as error:
        raise HTTPException(error.status, error.reason) from error
    except (TimeoutError, RayError) as error:
        raise HTTPException(
            503, f"the policy did not answer within {TIMEOUT_S} s, or its replica died; try again later"
        ) from error
    if not body.stream:
        return Response(first, media_type="application/json")
    return StreamingResponse(
        _continue(first, answer), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _continue(first: str, rest: Any) -> AsyncIterator[str]:
    yield first
    while True:
        try:
            yield await asyncio.wait_for(anext(rest), TIMEOUT_S)
        except StopAsyncIteration:
            return
