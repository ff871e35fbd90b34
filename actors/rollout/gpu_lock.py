"""Engines that get a part of a GPU start one after the other: vLLM measures the GPU's memory while it starts, and takes
what others allocate meanwhile for its own.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
import time
from typing import TextIO

POLL_S = 0.2


class GpuTaken(RuntimeError):
    """Another engine does not let go of the GPU."""


async def lock_gpu(gpu: str, limit_s: float) -> TextIO:
    """Waits until no other engine of this user has the lock of a GPU of this node.

    Args:
        gpu: Ray's name of it, as in CUDA_VISIBLE_DEVICES.

    Returns:
        The lock, which closing it, or the end of the process, releases.

    Raises:
        GpuTaken: another engine has it for longer than `limit_s`.
    """
    file = open(f"{tempfile.gettempdir()}/curlvpr-gpu-{os.getuid()}-{gpu}.lock", "w")  # noqa: SIM115 - the caller closes
    until = time.monotonic() + limit_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() > until:
                file.close()
                raise GpuTaken(f"GPU {gpu} has another engine, which did not let go of it for {limit_s:g} s") from None
        await asyncio.sleep(POLL_S)
