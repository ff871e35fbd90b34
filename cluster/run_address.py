"""Where the cluster of a run is, kept in its folder. Imports no Ray, which reads its environment when it is imported."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

FILE_NAME = "ray_address"


def write_address(run: Path, address: str) -> None:
    """Keeps the address of this process's cluster, and whether it wants a token."""
    (run / FILE_NAME).write_text(json.dumps({"address": address, "auth_mode": os.environ.get("RAY_AUTH_MODE")}), encoding="utf-8")


def forget_address(run: Path) -> None:
    (run / FILE_NAME).unlink(missing_ok=True)


def find_address(run: Path) -> str | None:
    """The address of the run's cluster; None where it has none, or nobody answers there (Ray itself would try for a minute).

    Sets the environment by which Ray, imported later, authenticates itself as the run did.
    """
    if not (run / FILE_NAME).is_file():
        return None
    kept = json.loads((run / FILE_NAME).read_text(encoding="utf-8"))
    host, _, port = kept["address"].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return None
    if kept["auth_mode"]:
        os.environ.setdefault("RAY_AUTH_MODE", kept["auth_mode"])
    return kept["address"]
