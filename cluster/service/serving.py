"""The service as an application of Ray Serve: for `curlvpr serve`, and for Serve's own configuration files."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import ray
from pydantic import BaseModel
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from actors.environment import ENVIRONMENT

from ..errors import UserError
from .app import build
from .rewards_api import Scorer
from .tokens import read_tokens

NAME = "curlvpr"


class ServiceArguments(BaseModel):
    """The `args` of a Serve configuration with `import_path: cluster.service.serving:application`."""

    root: Path
    tokens: Path
    allow: tuple[str, ...] = ()


def application(arguments: ServiceArguments) -> Application:
    """The service for the runs below a folder. Raises UserError: the tokens cannot be read."""
    root, tokens, allow = arguments.root.absolute(), read_tokens(arguments.tokens), arguments.allow
    root.mkdir(parents=True, exist_ok=True)

    @serve.deployment(name="Api", max_ongoing_requests=200, ray_actor_options={"num_cpus": 0.25})
    @serve.ingress(lambda: build(root, tokens, allow))
    class Api:
        def __init__(self, scorer: DeploymentHandle) -> None:
            self.scorer = scorer  # makes it part of the application; routes ask for it by name

        def __repr__(self) -> str:
            return "api"

    return Api.bind(Scorer.bind())


def serve_forever(root: Path, tokens: Path, allow: Sequence[str], host: str, port: int) -> None:
    """Joins the cluster (or starts one on this machine), serves, and ends with SIGINT or SIGTERM.

    Raises:
        UserError: the tokens cannot be read, or the service does not start.
    """
    service = application(ServiceArguments(root=root, tokens=tokens, allow=tuple(allow)))
    ray.init(log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": dict(ENVIRONMENT)}, namespace=NAME)
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
        serve.run(service, name=NAME)
        print(f"serving the runs of {root.absolute()} at http://{host}:{port}; its routes: http://{host}:{port}/docs", flush=True)
        over = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: over.set())
        over.wait()
    except RuntimeError as error:
        raise UserError(f"the service does not start: {' '.join(str(error).split())[:300]}") from error
    finally:
        serve.shutdown()
        ray.shutdown()
