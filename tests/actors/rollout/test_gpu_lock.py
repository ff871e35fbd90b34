"""Engines on the same GPU start in turn: real processes, one of which dies with the lock."""

import asyncio
import subprocess
import sys
import time

import pytest

from actors.rollout import gpu_lock
from actors.rollout.gpu_lock import GpuTaken, lock_gpu

HOLDER = """
import asyncio, sys, time
from actors.rollout.gpu_lock import lock_gpu
lock = asyncio.run(lock_gpu(sys.argv[1], 5))
print("has it", flush=True)
time.sleep(60)
"""


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_lock.tempfile, "gettempdir", lambda: str(tmp_path))
    return "GPU-1b2c"


def test_the_next_engine_starts_once_the_lock_is_free_and_on_another_gpu_at_once(gpu):
    async def engines():
        first = await lock_gpu(gpu, 1)
        other = await lock_gpu("GPU-9", 0)
        with pytest.raises(GpuTaken, match=f"GPU {gpu} has another engine, which did not let go of it for 0.3 s"):
            await lock_gpu(gpu, 0.3)
        waiting = asyncio.create_task(lock_gpu(gpu, 30))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        first.close()
        (await waiting).close()
        other.close()

    asyncio.run(engines())


def test_an_engine_that_was_killed_lets_go(monkeypatch):
    gpu = f"test-{time.time_ns()}"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, gpu], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "has it\n"
    with pytest.raises(GpuTaken):
        asyncio.run(lock_gpu(gpu, 0))
    holder.kill()
    asyncio.run(lock_gpu(gpu, 10)).close()
    holder.wait()
