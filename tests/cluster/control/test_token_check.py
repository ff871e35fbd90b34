"""A wrong token is told in one line, and at once."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from ray.core.generated import gcs_service_pb2

from cluster.control.token_check import TokenRefused, check_token
from cluster.record.lease import Lease

RIGHT = "right-token-of-this-cluster"


class Guarded(grpc.GenericRpcHandler):
    """Answers whether it is alive, as a cluster with tokens does."""

    def service(self, details):
        if details.method != "/ray.rpc.NodeInfoGcsService/CheckAlive":
            return None
        return grpc.unary_unary_rpc_method_handler(
            self.answer,
            request_deserializer=gcs_service_pb2.CheckAliveRequest.FromString,
            response_serializer=gcs_service_pb2.CheckAliveReply.SerializeToString,
        )

    def answer(self, _, context):
        if ("authorization", f"Bearer {RIGHT}") not in [tuple(pair) for pair in context.invocation_metadata()]:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken: Authentication token is missing or wrong")
        return gcs_service_pb2.CheckAliveReply()


@pytest.fixture
def cluster():
    """The address of a server that takes one token."""
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Guarded()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def ask(address, token):
    """What a process with that token says; its environment is read when Ray is imported."""
    code = f"from cluster.control.token_check import check_token\ncheck_token({address!r})\nprint('taken')"
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)


def test_the_right_token_is_taken(cluster):
    assert ask(cluster, RIGHT).stdout == "taken\n"


def test_without_tokens_a_guarded_cluster_refuses_and_a_dead_one_passes(cluster, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(TokenRefused, match="it does not take this process's token"):
        check_token(cluster)
    check_token("127.0.0.1:1")


def test_status_with_a_wrong_token_is_one_line_at_once(cluster, tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: a\n")
    (tmp_path / "ray_address").write_text(json.dumps({"address": cluster, "auth_mode": "token"}))
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "another-token-than-that"}
    command = [sys.executable, "-m", "cluster.cli", "status", str(tmp_path)]
    began = time.monotonic()
    with Lease(tmp_path):  # the cluster of a run whose process is gone is not asked
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and not done.stdout and time.monotonic() - began < 60
    [line] = done.stderr.splitlines()
    assert line.startswith(f"curlvpr: {tmp_path}: no connection to its cluster at {cluster}: it does not take this")
    assert "its own token (~/.ray/auth_token, or RAY_AUTH_TOKEN)" in line
