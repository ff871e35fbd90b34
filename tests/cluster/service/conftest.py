"""The service: on the real Ray Serve, or its application alone."""

import shutil
import time

import openai
import pytest
import yaml
from fastapi.testclient import TestClient

from cluster.control.ray_jobs import Job
from cluster.service.app import build
from cluster.service.tokens import Quota, new_token
from tests.support.service import Caller


@pytest.fixture(scope="package")
def service(run, tmp_path_factory):
    """The service for the folder of the finished run, shared by the package; its policy follows a copy of that run."""
    import socket

    from ray import serve

    from cluster.service.serving import ServiceArguments, application

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    caller, kept = Caller(f"http://127.0.0.1:{port}"), []
    for role in ("read", "operate"):
        caller.tokens[role], token = new_token(f"{role}er", role)
        kept.append(token.model_dump())
    caller.tokens["nothing"], token = new_token("starter of nothing", "operate", Quota(runs=0))
    kept.append(token.model_dump())
    tokens = tmp_path_factory.mktemp("service") / "tokens.yaml"
    tokens.write_text(yaml.safe_dump(kept))
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    shutil.copytree(run, run.parent / "served")
    serve.run(application(ServiceArguments(root=run.parent, tokens=tokens, policy="served")), name="curlvpr")
    yield caller
    serve.shutdown()


@pytest.fixture
def client(tmp_path):
    """The application for the runs of tmp_path/runs, called with a token that may operate."""
    text, token = new_token("ada", "operate")
    (tmp_path / "runs").mkdir()
    app = build(tmp_path / "runs", [token], [str(tmp_path / "shared")])
    return TestClient(app, headers={"Authorization": f"Bearer {text}"}, raise_server_exceptions=False)


@pytest.fixture
def openai_client(service):
    return openai.AsyncOpenAI(base_url=service.url + "/v1", api_key=service.tokens["read"], max_retries=0, timeout=120)


@pytest.fixture
def jobs(monkeypatch):
    """Ray's list of jobs, as the service sees it; the tests have no cluster with a dashboard."""
    known = []

    def submit(command, metadata, recipe, **more):
        known.insert(0, Job(**metadata, submitted=time.time(), going=True, why=""))
        return None, "job"

    monkeypatch.setattr("cluster.service.run_jobs._cluster", lambda: "here")
    monkeypatch.setattr("cluster.service.run_jobs.list_jobs", lambda address: list(known))
    monkeypatch.setattr("cluster.service.run_jobs.submit_command", submit)
    monkeypatch.setattr("cluster.service.run_jobs.CACHE_S", -1)
    monkeypatch.setattr("cluster.service.run_jobs.ENDING_S", 1)
    return known
