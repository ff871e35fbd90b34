"""How the service answers: JSON that can hold whatever a model wrote, and what its description tells of refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

OPENAI = ("/v1/chat/", "/v1/models")  # routes that are OpenAI's


class Json(JSONResponse):
    """JSON in ASCII: a text may hold half of a surrogate pair, for which UTF-8 has no bytes."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def refusal(path: str, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> Json:
    """The answer to a request that is refused. Clients of OpenAI's API show a person `error.message` and nothing else."""
    body = {"detail": detail}
    if path.startswith(OPENAI):
        words = (
            detail
            if isinstance(detail, str)
            else "; ".join(f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in detail)
        )
        kind = "server_error" if status >= 500 else "invalid_request_error"
        body["error"] = {"message": words, "type": kind, "param": None, "code": None}
    return Json(body, status, headers)


class Refusal(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"detail": "no run 'nosuch'; GET /v1/runs lists them"}]})

    detail: str = Field(description="what is wrong, in words; where the route is OpenAI's, `error.message` says it too")


class Unfit(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"detail": [{"type": "missing", "loc": ["body", "responses"], "msg": "Field required"}]}]
        }
    )

    detail: str | list[dict[str, Any]] = Field(
        description="what does not fit this description, each with its place; or words on a recipe, a row or an image"
    )


def faults(reasons: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Status and reason of each refusal as FastAPI's `responses` takes them."""
    return {
        status: {
            "description": reason,
            "content": {"application/json": {"schema": (Unfit if status == 422 else Refusal).model_json_schema()}},
        }
        for status, reason in reasons.items()
    }
