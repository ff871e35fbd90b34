"""Which Ray cluster a command joins, and whether it answers: known within seconds, where Ray tries for a minute."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil

from cluster.control.own_cluster import bears_mark
from cluster.errors import TOKEN_ADVICE, UserError, error_line, first_sentence

ANSWER_S = 5.0  # for a cluster to answer; it is near, and does so within milliseconds
LOCAL = "local"
ADVICE = "RAY_ADDRESS=HOST:PORT names a cluster, RAY_ADDRESS=local starts one for this command alone"


def cluster_to_join() -> str | None:
    """The address of the cluster that RAY_ADDRESS names, else of the one that `ray start` started on this machine.

    A cluster that another command started for itself is nobody else's, also with RAY_ADDRESS=auto.

    Returns:
        HOST:PORT; None if the command is to start a cluster of its own.

    Raises:
        UserError: there is an address, and no cluster answers at it, or none has a node on this machine.
    """
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    from ray._private.utils import read_ray_address

    named = os.environ.get("RAY_ADDRESS", "")
    if named == LOCAL:
        return None
    if named not in ("", "auto"):
        check_answers(named, f"RAY_ADDRESS={named}", ADVICE)
        return named
    started: str | None = read_ray_address()
    if started is None:
        if named:
            raise UserError(f"RAY_ADDRESS=auto: no Ray cluster was started here by `ray start`; {ADVICE}")
        return None
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)  # as `ray.init` does for it
    what = f"the Ray cluster that `ray start` started on this machine, at {started},"
    check_answers(started, what, f"if it has died, `ray stop` forgets it; {ADVICE}")
    return started


def check_answers(address: str, what: str, advice: str) -> None:
    """Raises UserError, which begins with `what`: no cluster answers at HOST:PORT, or it has no node here."""
    from ray.exceptions import AuthenticationError

    if address.startswith("ray://"):
        raise UserError(
            f"{what}: a run takes part in its cluster, which Ray's client cannot; run it on a node of the cluster, or "
            "send it there with curlvpr submit"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f"{what} is no address; {advice}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
    except OSError as error:
        raise UserError(f"{what} does not answer ({error_line(error)}); {advice}") from error
    try:
        fault = _fault_of_head(address)
    except AuthenticationError as error:  # this process has no token to show
        raise UserError(f"no connection to {address}: {first_sentence(error)}; {TOKEN_ADVICE}; {advice}") from error
    if fault:
        raise UserError(f"{what} {fault}; {advice}")
    if not any(_port_of(raylet) == port for raylet in raylets()):
        raise UserError(
            f"{what}: no node of that cluster runs on this machine; start one with `ray start --address={address}`, or "
            f"send the run there with curlvpr submit; {advice}"
        )


def raylets() -> Iterator[psutil.Process]:
    """The processes of Ray nodes on this machine that do not belong to one command alone."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.name() == "raylet" and process.status() != psutil.STATUS_ZOMBIE and not bears_mark(process):
                yield process


def raylet_of(address: str) -> psutil.Process | None:
    """The node of a cluster on this machine."""
    port = address.rpartition(":")[2]
    return next((raylet for raylet in raylets() if _port_of(raylet) == port), None)


def describe_cluster(address: str, resources: dict[str, Any], nodes: int) -> str:
    """One line about a cluster that is joined: whose it is, since when, and how big."""
    size = [f"{nodes} node{'s' if nodes > 1 else ''}"]
    size += [f"{resources[name]:g} {name}s" for name in ("CPU", "GPU") if resources.get(name)]
    whose = ""
    if raylet := raylet_of(address):
        with suppress(psutil.Error):
            hours = (time.time() - raylet.create_time()) / 3600
            whose = f", which {raylet.username()} started {hours:.1f} h ago"
    return f"joins the Ray cluster at {address}{whose}: {', '.join(size)}"


def _port_of(raylet: psutil.Process) -> str:
    """The port of the cluster that a node belongs to."""
    with suppress(psutil.Error):
        for argument in raylet.cmdline():
            if argument.startswith("--gcs-address="):
                return argument.rpartition(":")[2]
    return ""


def _fault_of_head(address: str) -> str:
    """Why what answers at an address is no cluster for this process; "" if it is one. Raises AuthenticationError."""
    import grpc
    from ray._private.gcs_utils import create_gcs_channel
    from ray.core.generated.gcs_service_pb2 import GetClusterIdRequest
    from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub

    channel = create_gcs_channel(address)
    try:
        NodeInfoGcsServiceStub(channel).GetClusterId(GetClusterIdRequest(), timeout=ANSWER_S)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            return f"refuses this process; {TOKEN_ADVICE}"
        return f"is no Ray cluster, although something answers there ({error.code().name})"
    finally:
        channel.close()
    return ""
