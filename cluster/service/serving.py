"""The service as an application of Ray Serve: for `curlvpr serve`, and for Serve's own configuration files."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path

import ray
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from cluster.control.ray_connection import join
from cluster.errors import UserError
from cluster.service.app import build
from cluster.service.chat_policy import deployment, find_source
from cluster.service.tokens import read_tokens

NAME = "curlvpr"


class ServiceArguments(BaseModel):
    """The `args` of a Serve configuration with `import_path: cluster.service.serving:application`."""

    model_config = ConfigDict(extra="forbid")

    root: Path
    tokens: Path
    allow: tuple[str, ...] = ()
    policy: str | None = None  # a run below the root, or a model folder
    policy_replicas: int = Field(1, ge=1)  # at most
    driver_cpus: float = Field(
        0, ge=0, description="that a run's own process takes of the cluster; with 0 it is put on the head"
    )


def application(arguments: ServiceArguments) -> Application:
    """The service for the runs below a folder. Raises UserError: the tokens cannot be read, or there is no such policy."""
    root, tokens, allow = arguments.root.absolute(), read_tokens(arguments.tokens), arguments.allow
    root.mkdir(parents=True, exist_ok=True)
    source = find_source(root, arguments.policy) if arguments.policy else None
    name = source.name if source else None

    @serve.deployment(
        name="Api",
        max_ongoing_requests=1000,
        ray_actor_options={"num_cpus": 0.25},
        autoscaling_config={"min_replicas": 1, "max_replicas": 8, "target_ongoing_requests": 100},
    )
    @serve.ingress(lambda: build(root, tokens, allow, name, arguments.driver_cpus))
    class Api:
        def __init__(self, *parts: DeploymentHandle) -> None:
            self.parts = parts  # makes them part of the application; routes ask for them by name

        def __repr__(self) -> str:
            return "api"

    policy = [deployment(source, arguments.policy_replicas).bind(source)] if source else []
    return Api.bind(*policy)


def serve_forever(arguments: ServiceArguments, host: str, port: int) -> None:
    """Joins the cluster (or starts one on this machine), serves, and ends with SIGINT or SIGTERM.

    Raises:
        UserError: the tokens cannot be read, there is no such policy, no connection, or the service does not start.
    """
    service = application(arguments)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)  # Serve sets its own when it is imported
    join(namespace=NAME)
    ray._private.worker._worker_logs_enabled = (
        False  # what befalls other processes of the cluster is not the service's to print
    )
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
        serve.run(service, name=NAME)
        print(
            f"serving the runs of {arguments.root.absolute()} at http://{host}:{port}; its routes: http://{host}:{port}/docs",
            flush=True,
        )
        over = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: over.set())
        over.wait()
    except RuntimeError as error:
        raise UserError(f"the service does not start: {' '.join(str(error).split())[:300]}") from error
    finally:
        serve.shutdown()
        ray.shutdown()
