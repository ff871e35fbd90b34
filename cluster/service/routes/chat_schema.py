"""Request and response bodies of /v1/chat/completions and /v1/models, as OpenAI's API defines them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cluster.service.chat_policy import IMAGES
from curriculum.strict import Strict

EXAMPLE: dict[str, Any] = {
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
STREAM = (
    'data: {"id":"chatcmpl-b4b7a19cac815d4d","object":"chat.completion.chunk","created":1795951009,'
    '"model":"quickstart","choices":[{"index":0,"delta":{"content":"Effusion"},"finish_reason":null}]}'
    "\n\ndata: [DONE]\n\n"
)
Stop = Annotated[str, Field(min_length=1, max_length=256)]


class ImageUrl(Strict):
    url: str = Field(description="data:image/png;base64,… or jpeg; no other URL is fetched")
    detail: Literal["auto", "low", "high"] | None = Field(None, description="accepted and ignored")


class TextPart(Strict):
    type: Literal["text"]
    text: str


class ImagePart(Strict):
    type: Literal["image_url"]
    image_url: ImageUrl


class Message(Strict):
    role: Literal["system", "user", "assistant"]
    content: str | list[TextPart | ImagePart]


class StreamOptions(Strict):
    include_usage: bool = False


class ChatRequest(Strict):
    """The fields of OpenAI's request that are supported here; any other is refused."""

    model: str = Field(description="as GET /v1/models names it")
    messages: list[Message] = Field(
        min_length=1,
        max_length=256,
        description=f"with {IMAGES} images at most; if the first is not a system message, that of the training is "
        "put before it",
    )
    max_completion_tokens: int | None = Field(None, ge=1, description="by default as in training")
    max_tokens: int | None = Field(None, ge=1, description="the older name")
    temperature: float = Field(1.0, ge=0, le=2, description="`curlvpr eval` uses 0")
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
    finish_reason: str | None = Field(None, description="stop, or length if it was cut off")


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
    system_fingerprint: str | None = Field(
        None, description="the run and the commit whose weights wrote the end of the answer"
    )


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
