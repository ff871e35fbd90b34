"""The address of a run's cluster, kept in the run folder.

Imports no Ray, because Ray reads its environment when it is imported.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from actors.runtime.files import replacing
from cluster.errors import UserError, error_line

FILE_NAME = "ray_address"


def write_address(run: Path, address: str) -> None:
    """Keeps the address of this process's cluster, and whether it wants a token."""
    kept = {"address": address, "auth_mode": os.environ.get("RAY_AUTH_MODE")}
    with replacing(run / FILE_NAME) as partial:
        partial.write_text(json.dumps(kept), encoding="utf-8")


def remove_address(run: Path) -> None:
    (run / FILE_NAME).unlink(missing_ok=True)


def find_address(run: Path) -> str | None:
    """The address of the run's cluster; None if the run has none, or nobody answers there.

    The address is tried here because Ray itself would try for a minute. Also sets RAY_AUTH_MODE as the run had it, so
    that Ray, imported later, authenticates in the same way.

    Raises:
        UserError: the kept address is damaged.
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
            f"{run / FILE_NAME}: cannot be read ({error_line(error)}); if the run is not in progress, remove this file"
        ) from error
    if mode:
        os.environ.setdefault("RAY_AUTH_MODE", mode)
    return address
