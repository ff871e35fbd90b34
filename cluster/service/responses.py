"""Responses of the service: JSON that can hold any text of a model, refusals, and their description."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

OPENAI = ("/v1/chat/", "/v1/models")  # the routes of OpenAI's API


class Json(JSONResponse):
    """JSON in ASCII: a text may hold half of a surrogate pair, which UTF-8 cannot encode."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def refusal(path: str, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> Json:
    """The response to a refused request. Clients of OpenAI's API show only `error.message` to their users."""
    body: dict[str, Any] = {"detail": detail}
    if path.startswith(OPENAI):
        message = detail if isinstance(detail, str) else "; ".join(map(_fault_text, detail))
        kind = "server_error" if status >= 500 else "invalid_request_error"
        body["error"] = {"message": message, "type": kind, "param": None, "code": None}
    return Json(body, status, headers)


def _fault_text(fault: Mapping[str, Any]) -> str:
    place = ".".join(map(str, fault["loc"][1:]))
    return f"{place}: {fault['msg']}"


class Refusal(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"detail": "no run 'nosuch'; GET /v1/runs lists them"}]})

    detail: str = Field(description="what is wrong, in words; on a route of OpenAI's API also in `error.message`")


class Invalid(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"detail": [{"type": "missing", "loc": ["body", "responses"], "msg": "Field required"}]}]
        }
    )

    detail: str | list[dict[str, Any]] = Field(
        description="each field that does not fit its description; or what is wrong with a recipe, a row or an image"
    )


def error_responses(reasons: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """The `responses` argument of a FastAPI route, from the status and reason of each refusal."""
    return {
        status: {
            "description": reason,
            "content": {"application/json": {"schema": (Invalid if status == 422 else Refusal).model_json_schema()}},
        }
        for status, reason in reasons.items()
    }
