"""The service as a Ray Serve application, for `curlvpr serve` and for Serve's own configuration files."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import ray
from pydantic import Field
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from cluster.control.own_cluster import end_what_is_left
from cluster.control.ray_address import cluster_to_join
from cluster.control.ray_connection import join, leave
from cluster.errors import UserError, one_line
from cluster.outputs import told
from cluster.service.app import build
from cluster.service.chat_policy import deployment, find_source
from cluster.service.quota_keeper import SharedRunJobs, end_keeper
from cluster.service.tokens import read_tokens
from cluster.signals import current
from curriculum.strict import Strict

NAME = "curlvpr"


class ServiceArguments(Strict):
    """The `args` of a Serve configuration with `import_path: cluster.service.serving:application`."""

    root: Path
    tokens: Path
    allow: tuple[str, ...] = ()
    policy: str | None = Field(None, description="a run below the root, or a model folder")
    policy_replicas: int = Field(1, ge=1, description="the maximum")
    driver_cpus: float = Field(
        0, ge=0, description="the CPUs that a run's own process takes; with 0 it runs on the head"
    )


def application(arguments: ServiceArguments) -> Application:
    """The service for the runs below a folder. Raises UserError: no tokens file, root or policy."""
    root, driver_cpus = arguments.root.absolute(), arguments.driver_cpus
    tokens = read_tokens(arguments.tokens)
    with told("--root", root):
        root.mkdir(parents=True, exist_ok=True)
    source = find_source(root, arguments.policy) if arguments.policy else None
    name = source.name if source else None
    for remark in source.remarks if source else ():
        print(remark, flush=True)
    if ray.is_initialized():  # as when Serve reads a configuration file
        end_keeper(root)

    @serve.deployment(
        name="Api",
        max_ongoing_requests=1000,
        ray_actor_options={"num_cpus": 0.25},
        autoscaling_config={"min_replicas": 1, "max_replicas": 8, "target_ongoing_requests": 100},
    )
    @serve.ingress(lambda: build(root, tokens, arguments.allow, name, SharedRunJobs(root, tokens, driver_cpus)))
    class Api:
        def __init__(self, *parts: DeploymentHandle) -> None:
            self.parts = parts  # so that they belong to the application; routes find them by name

        def __repr__(self) -> str:
            return "api"

    policy = [deployment(source, arguments.policy_replicas).bind(source)] if source else []
    return Api.bind(*policy)  # type: ignore[attr-defined]  # Serve's decorator made it a Deployment


def serve_forever(arguments: ServiceArguments, host: str, port: int) -> None:
    """Joins the cluster (or starts one on this machine), and serves until Ctrl-C or SIGTERM.

    Raises:
        UserError: the tokens cannot be read, there is no such policy, no connection, or the service does not start.
    """
    service = application(arguments)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)  # Serve sets its own when it is imported
    end_what_is_left(print)
    join(cluster_to_join(), namespace=NAME)
    end_keeper(arguments.root.absolute())
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
        serve.run(service, name=NAME)
        url = f"http://{host}:{port}"
        print(f"serving the runs of {arguments.root.absolute()} at {url}; routes: {url}/docs", flush=True)
        stopped = threading.Event()
        if signals := current():
            signals.stop_gently = stopped.set
        stopped.wait()
    except RuntimeError as error:
        raise UserError(f"the service does not start: {one_line(error)[:300]}") from error
    finally:
        serve.shutdown()
        end_keeper(arguments.root.absolute())
        leave()
