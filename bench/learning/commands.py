"""The command line of the product, as a user calls it."""

from __future__ import annotations

import subprocess
import sys


def curlvpr(*arguments: object) -> None:
    """Raises subprocess.CalledProcessError: the command failed."""
    subprocess.run([sys.executable, "-m", "cluster.cli", *map(str, arguments)], check=True)
