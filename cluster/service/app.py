"""The HTTP application: routers, who may call them, and how large a request may be."""

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

from cluster.service.responses import Json, faults, refusal
from cluster.service.routes import api_docs as routes_page
from cluster.service.routes import chat as chat_api
from cluster.service.routes import dashboard as page
from cluster.service.routes import rewards as rewards_api
from cluster.service.routes import runs as runs_api
from cluster.service.run_jobs import Starter
from cluster.service.tokens import Role, Token, find_token

LARGEST_REQUEST = 32 * 2**20  # bytes
MOST_FAULTS = 20  # of a request, that are told
_REFUSED = faults(
    {
        401: "no token, or a wrong one",
        403: "the token's role does not allow this",
        411: "the request does not tell its Content-Length",
        413: f"the request is larger than {LARGEST_REQUEST} bytes",
        422: "the request is not as it should be",
    }
)
bearer = HTTPBearer(auto_error=False, description="a token of the service's file")


def build(
    root: Path, tokens: Sequence[Token], allowed: Sequence[str] = (), policy: str | None = None, driver_cpus: float = 0
) -> FastAPI:
    """The application for the runs below `root`; every route of /v1 wants a token.

    Args:
        allowed: folders and URIs, beside `root`, that a recipe may name as its data, model and storage.
        policy: the name of the model that the service serves, where it serves one.
        driver_cpus: as `submit_command`, for every run.
    """
    app = FastAPI(
        title="curlvpr",
        version="1",
        description="Runs, rewards that rules verify, and the policy, for chest X-ray models.",
        docs_url=None,
        redoc_url=None,  # they load scripts from elsewhere, beside which no token should be typed
        default_response_class=Json,
        exception_handlers={RequestValidationError: _faulty, StarletteHTTPException: _refused},
    )
    app.state.root, app.state.tokens, app.state.allowed = root, tuple(tokens), (str(root), *allowed)
    app.state.policy, app.state.starter = policy, Starter(root, tokens, driver_cpus)
    app.include_router(runs_api.router, dependencies=[Depends(needs("read"))], responses=_REFUSED)
    app.include_router(page.page)
    app.include_router(routes_page.router)
    app.include_router(page.panels, dependencies=[Depends(needs("read"))], responses=_REFUSED)
    app.include_router(rewards_api.router, dependencies=[Depends(needs("read"))], responses=_REFUSED)
    app.include_router(chat_api.router, dependencies=[Depends(needs("read"))], responses=_REFUSED)
    app.include_router(runs_api.operate, dependencies=[Depends(needs("operate"))], responses=_REFUSED)

    app.add_middleware(NotTooLarge)
    app.add_middleware(Guarded)
    return app


class NotTooLarge:
    """Refuses a request by what it says of its length, before it is read."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        told = Headers(scope=scope) if scope["type"] == "http" else {}
        length, refused = told.get("content-length", "0"), None
        if "transfer-encoding" in told:
            refused = refusal(scope["path"], 411, "a request with a body tells its Content-Length")
        elif not re.fullmatch("[0-9]{1,18}", length) or int(length) > LARGEST_REQUEST:
            refused = refusal(scope["path"], 413, f"at most {LARGEST_REQUEST} bytes")
        await (refused or self.app)(scope, receive, send)


class Guarded:
    """Tells browsers that answers are for nobody's frame or cache, and of the type that they say."""

    HEADERS = [
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-store"),
    ]

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                named = {name for name, _ in message.get("headers", ())}
                message = message | {
                    "headers": [*message.get("headers", ()), *(h for h in self.HEADERS if h[0] not in named)]
                }
            await send(message)

        await self.app(scope, receive, guarded)


async def _faulty(request: Request, error: Exception) -> Json:
    """What is wrong, and where; not what was sent, which may be large, deep, secret, or no JSON."""
    assert isinstance(error, RequestValidationError)
    told = [{key: fault[key] for key in ("type", "loc", "msg")} for fault in error.errors()[:MOST_FAULTS]]
    return refusal(request.url.path, 422, told)


async def _refused(request: Request, error: Exception) -> Json:
    assert isinstance(error, StarletteHTTPException)
    return refusal(request.url.path, error.status_code, error.detail, error.headers)


def needs(role: Role) -> Callable[..., Awaitable[None]]:
    """A dependency that lets in who has a token of the role."""

    async def check(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        token = find_token(request.app.state.tokens, given.credentials) if given else None
        if token is None:
            why = "this token is not known here" if given else "a bearer token is needed"
            raise HTTPException(401, why, {"WWW-Authenticate": "Bearer"})
        if not token.allows(role):
            raise HTTPException(403, f"token {token.name} may read; this needs the role {role}")
        request.state.token = token

    return check
