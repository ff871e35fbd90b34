"""Where the cluster of a run is, kept in its folder. Imports no Ray, which reads its environment when it is imported."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from cluster.errors import UserError, in_words

FILE_NAME = "ray_address"


def write_address(run: Path, address: str) -> None:
    """Keeps the address of this process's cluster, and whether it wants a token."""
    partial = run / f".{FILE_NAME}"  # a reader never sees half of it
    partial.write_text(json.dumps({"address": address, "auth_mode": os.environ.get("RAY_AUTH_MODE")}), encoding="utf-8")
    os.replace(partial, run / FILE_NAME)


def forget_address(run: Path) -> None:
    (run / FILE_NAME).unlink(missing_ok=True)


def find_address(run: Path) -> str | None:
    """The address of the run's cluster; None where it has none, or nobody answers there (Ray itself would try for a minute).

    Sets the environment by which Ray, imported later, authenticates itself as the run did.

    Raises:
        UserError: what is kept is damaged.
    """
    if not (run / FILE_NAME).is_file():
        return None
    try:
        kept = json.loads((run / FILE_NAME).read_text(encoding="utf-8"))
        address, mode = kept["address"], kept["auth_mode"]
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{run / FILE_NAME}: cannot be read ({in_words(error)}); remove it where the run does not go on"
        ) from error
    if mode:
        os.environ.setdefault("RAY_AUTH_MODE", mode)
    return address
