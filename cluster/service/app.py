"""The HTTP application: its routers, who may call them, and the size limit of a request."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException as StarletteHTTPException

from cluster.service.responses import Json, error_responses, refusal
from cluster.service.routes import api_docs, chat, dashboard, rewards, runs
from cluster.service.run_jobs import RunJobs
from cluster.service.tokens import Role, Token, find_token

MAX_REQUEST_BYTES = 32 * 2**20
MAX_FAULTS = 20  # of one request, in its refusal
_REFUSED = error_responses(
    {
        401: "no token, or a wrong one",
        403: "the token's role does not allow this",
        411: "the request has no Content-Length",
        413: f"the request is larger than {MAX_REQUEST_BYTES} bytes",
        422: "the request does not fit its description",
    }
)
bearer = HTTPBearer(auto_error=False, description="a token listed in the service's file")


def build(
    root: Path,
    tokens: Sequence[Token],
    allowed: Sequence[str] = (),
    policy: str | None = None,
    run_jobs: RunJobs | None = None,
) -> FastAPI:
    """The application for the runs below `root`; every route of /v1 needs a token.

    Args:
        root: the folder of the runs.
        tokens: the tokens that are accepted.
        allowed: folders and URIs beside `root` that a recipe may name as its data, model and storage, and rules.
        policy: the name of the model that the service serves, if any.
        run_jobs: what starts runs; by default one for this process alone.
    """
    app = FastAPI(
        title="curlvpr",
        version="1",
        description="Runs, rewards that rules verify, and the policy, for chest X-ray models.",
        # FastAPI's own pages load scripts from elsewhere, and no token should be typed into such a page.
        docs_url=None,
        redoc_url=None,
        default_response_class=Json,
        exception_handlers={RequestValidationError: _invalid, StarletteHTTPException: _refused},
    )
    app.state.root = root
    app.state.tokens = tuple(tokens)
    app.state.allowed = (str(root), *allowed)
    app.state.policy = policy
    app.state.run_jobs = run_jobs or RunJobs(root, tokens, driver_cpus=0)
    read = [Depends(needs("read"))]
    app.include_router(runs.router, dependencies=read, responses=_REFUSED)
    app.include_router(dashboard.page)
    app.include_router(api_docs.router)
    app.include_router(dashboard.panels, dependencies=read, responses=_REFUSED)
    app.include_router(rewards.router, dependencies=read, responses=_REFUSED)
    app.include_router(chat.router, dependencies=read, responses=_REFUSED)
    app.include_router(runs.operate, dependencies=[Depends(needs("operate"))], responses=_REFUSED)

    app.add_middleware(SizeLimit)
    app.add_middleware(SecurityHeaders)
    return app


class SizeLimit:
    """Middleware that refuses a request by its Content-Length, before the body is read."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else {}
        length = headers.get("content-length", "0")
        response = self.app
        if "transfer-encoding" in headers:
            response = refusal(scope["path"], 411, "a request with a body must have a Content-Length")
        elif not re.fullmatch("[0-9]{1,18}", length) or int(length) > MAX_REQUEST_BYTES:
            response = refusal(scope["path"], 413, f"at most {MAX_REQUEST_BYTES} bytes")
        await response(scope, receive, send)


class SecurityHeaders:
    """Middleware that forbids browsers to frame, cache or reinterpret responses."""

    HEADERS = (
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-store"),
    )

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                names = {name for name, _ in headers}
                headers += [header for header in self.HEADERS if header[0] not in names]
                message = message | {"headers": headers}
            await send(message)

        await self.app(scope, receive, send_with_headers)


async def _invalid(request: Request, error: Exception) -> Json:
    """Names the faults and their places, without the input: it may be large, deep, secret, or no JSON."""
    assert isinstance(error, RequestValidationError)
    faults = [{key: fault[key] for key in ("type", "loc", "msg")} for fault in error.errors()[:MAX_FAULTS]]
    return refusal(request.url.path, 422, faults)


async def _refused(request: Request, error: Exception) -> Json:
    assert isinstance(error, StarletteHTTPException)
    return refusal(request.url.path, error.status_code, error.detail, error.headers)


def needs(role: Role) -> Callable[..., Awaitable[None]]:
    """A dependency that admits requests with a token of the role."""

    async def check(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> None:
        token = find_token(request.app.state.tokens, credentials.credentials) if credentials else None
        if token is None:
            reason = "this token is not known here" if credentials else "a bearer token is needed"
            raise HTTPException(401, reason, {"WWW-Authenticate": "Bearer"})
        if not token.allows(role):
            raise HTTPException(403, f"token {token.name} may only read; this needs the role {role}")
        request.state.token = token

    return check
