"""/v1/chat/completions and /v1/models: the policy, as clients of OpenAI's API ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, HTTPException, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.exceptions import RayError

from cluster.service.chat_policy import DEPLOYMENT, IMAGES, TIMEOUT_S, Refused
from cluster.service.responses import faults

EXAMPLE = {
    "model": "quickstart",
    "temperature": 0,
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                {"type": "text", "text": "Is there a pleural effusion?"},
            ],
        }
    ],
}


Stop = Annotated[str, Field(min_length=1, max_length=256)]


class ImageUrl(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str = Field(description="data:image/png;base64,… or jpeg; nothing is fetched from elsewhere")
    detail: Literal["auto", "low", "high"] | None = Field(None, description="is accepted, and means nothing here")


class TextPart(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: str


class ImagePart(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["image_url"]
    image_url: ImageUrl


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str | list[TextPart | ImagePart]


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The part of OpenAI's request that means something here; anything else is refused."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="as GET /v1/models names it")
    messages: list[Message] = Field(
        min_length=1,
        max_length=256,
        description=f"with {IMAGES} images at most; where the first "
        "is no system message, that of the training is put before it",
    )
    max_completion_tokens: int | None = Field(None, ge=1, description="as in training where left out")
    max_tokens: int | None = Field(None, ge=1, description="the older name")
    temperature: float = Field(1.0, ge=0, le=2, description="0 is how `curlvpr eval` asks")
    top_p: float = Field(1.0, gt=0, le=1)
    n: int = Field(1, ge=1, le=16)
    seed: int | None = Field(None, ge=0, lt=2**31)
    stop: Stop | Annotated[list[Stop], Field(min_length=1, max_length=4)] | None = Field(
        None, description="texts that end an answer"
    )
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = None


class OpenModel(BaseModel):
    model_config = ConfigDict(extra="allow")


class ChatMessage(OpenModel):
    role: Literal["assistant"]
    content: str | None = None


class Choice(OpenModel):
    index: int
    message: ChatMessage
    finish_reason: str | None = Field(None, description="stop, or length where it breaks off")


class Usage(OpenModel):
    prompt_tokens: int
    completion_tokens: int | None = None
    total_tokens: int


class ChatAnswer(OpenModel):
    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "id": "chatcmpl-b4b7a19cac815d4d",
                    "object": "chat.completion",
                    "created": 1795951009,
                    "model": "quickstart",
                    "choices": [
                        {
                            "index": 0,
                            "message": {
                                "role": "assistant",
                                "content": "<think>Effusion: fluid.</think><answer>A</answer>",
                            },
                            "finish_reason": "stop",
                        }
                    ],
                    "usage": {"prompt_tokens": 45, "completion_tokens": 12, "total_tokens": 57},
                    "system_fingerprint": "quickstart/step-0000120",
                }
            ]
        },
    )

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str | None = Field(None, description="the run and the commit whose weights ended the answer")


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "curlvpr"


class Models(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [{"id": "quickstart", "object": "model", "created": 0, "owned_by": "curlvpr"}],
                }
            ]
        }
    )

    object: Literal["list"] = "list"
    data: list[Model]


_FAULTS = faults(
    {
        400: "the chat cannot be answered, such as one that is too long",
        404: "no such model, or the service was started without one (--policy)",
        503: "no weights yet, or no replica answered in time",
    }
)
_STREAM = (
    'data: {"id":"chatcmpl-b4b7a19cac815d4d","object":"chat.completion.chunk","created":1795951009,"model":"quickstart",'
    '"choices":[{"index":0,"delta":{"content":"Effusion"},"finish_reason":null}]}\n\ndata: [DONE]\n\n'
)
router = APIRouter(prefix="/v1", tags=["policy"])


@router.get("/models", response_model=Models)
def models(request: Request) -> Any:
    """The policy that this service serves, by the name that a chat gives as `model`."""
    name = request.app.state.policy
    return {"data": [{"id": name}] if name else []}


@router.post(
    "/chat/completions",
    response_model=ChatAnswer,
    responses=_FAULTS | {200: {"content": {"text/event-stream": {"example": _STREAM}}}},
)
async def chat(
    request: Request, asked: Annotated[ChatRequest, Body(openapi_examples={"a film": {"value": EXAMPLE}})]
) -> Any:
    """Ask the policy, with images; as OpenAI's chat completions, whole or as a stream."""
    name = request.app.state.policy
    if asked.model != name:
        raise HTTPException(
            404,
            f"no model {asked.model!r:.120}; "
            + (f"this service has {name!r}" if name else "this service serves none: start it with --policy"),
        )
    policy = serve.get_deployment_handle(DEPLOYMENT, serve.get_replica_context().app_name)
    answer = policy.options(stream=True).chat.remote(asked.model_dump(exclude_none=True))
    try:
        first = await asyncio.wait_for(anext(answer), TIMEOUT_S)
    except Refused as error:
        raise HTTPException(error.status, error.why) from error
    except (TimeoutError, RayError) as error:
        raise HTTPException(
            503, f"the policy did not answer within {TIMEOUT_S} s, or its replica died; try again later"
        ) from error
    if not asked.stream:
        return Response(first, media_type="application/json")
    return StreamingResponse(
        _go_on(first, answer), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _go_on(first: str, rest: Any) -> AsyncIterator[str]:
    yield first
    while True:
        try:
            yield await asyncio.wait_for(anext(rest), TIMEOUT_S)
        except StopAsyncIteration:
            return
