"""Starts the service on Ray Serve, and keeps it up until it is told to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from actors.environment import ENVIRONMENT

from ..errors import UserError
from .app import build
from .rewards_api import Scorer
from .tokens import Token, read_tokens

NAME = "curlvpr"


def deploy(root: Path, tokens: Sequence[Token], allowed: Sequence[str] = (), prefix: str = "/") -> DeploymentHandle:
    """The service on the cluster that Ray is connected to, behind Serve's proxy."""

    @serve.deployment(name="Api", max_ongoing_requests=200, ray_actor_options={"num_cpus": 0.25})
    @serve.ingress(lambda: build(root, tokens, allowed))
    class Api:
        def __init__(self, scorer: DeploymentHandle) -> None:
            self.scorer = scorer  # that it belongs to the application; the route asks for it by name

        def __repr__(self) -> str:
            return "api"

    return serve.run(Api.bind(Scorer.bind()), name=NAME, route_prefix=prefix)


def serve_forever(root: Path, tokens_file: Path, allowed: Sequence[str], host: str, port: int) -> None:
    """Joins the cluster (or starts one on this machine), serves, and ends with SIGINT or SIGTERM.

    Raises:
        UserError: no tokens, no root, or the port is taken.
    """
    tokens = read_tokens(tokens_file)
    root.mkdir(parents=True, exist_ok=True)
    ray.init(log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": dict(ENVIRONMENT)}, namespace=NAME)
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
        deploy(root.absolute(), tokens, allowed)
        print(f"serving runs of {root.absolute()} at http://{host}:{port}; its routes: http://{host}:{port}/docs", flush=True)
        over = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: over.set())
        over.wait()
    except RuntimeError as error:
        raise UserError(f"the service does not start: {' '.join(str(error).split())[:300]}") from error
    finally:
        serve.shutdown()
        ray.shutdown()
