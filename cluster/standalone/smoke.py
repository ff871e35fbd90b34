"""`curlvpr smoke`: checks what depends on the hardware, on this machine, one after the other, with a line for each.

No GPU has run this code yet. On a CPU the checks compare with float64 or float32; on a GPU they will do the same.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.errors import UserError, error_line
from cluster.standalone import smoke_numbers, smoke_runs
from cluster.standalone.smoke_context import Check, CheckFailed, Context

NUMBERS = (
    Check("attention in packs and windows", 0, smoke_numbers.attention),
    Check("packed samples as padded ones", 0, smoke_numbers.packing),
    Check("engine and learner have the same numbers", 0, smoke_numbers.engine),
)
ON_CPU = (*NUMBERS, Check("whole run", 0, smoke_runs.on_cpu))
ON_GPUS = (
    *NUMBERS,
    Check("whole run, engine and learner on one GPU in turn", 1, smoke_runs.shared),
    Check("whole run, the optimiser and the reference in RAM", 1, smoke_runs.offloaded),
    Check("whole run, adapters alone", 1, smoke_runs.adapters),
    Check("whole run, a GPU for each", 2, smoke_runs.apart),
    Check("whole run, two engines and two ranks of ZeRO 3 on two GPUs in turn", 2, smoke_runs.sharded),
    Check("whole run, an engine of two GPUs", 3, smoke_runs.tensor_parallel),
    Check("whole run, two engines and two ranks of ZeRO 2, a GPU for each", 4, smoke_runs.two_of_each),
)


def smoke(gpu: bool) -> bool:
    """Runs the checks and prints their results. Returns whether none failed.

    Args:
        gpu: run on this machine's GPUs, else on the CPU.

    Raises:
        UserError: `gpu` is set, and there is no GPU.
    """
    import torch

    if gpu and not torch.cuda.is_available():
        raise UserError(
            f"smoke --gpu: torch {torch.__version__} sees no GPU; curlvpr doctor shows what is there and missing. "
            "Without --gpu the same checks run on the CPU, as far as possible."
        )
    if not gpu:
        # Otherwise DeepSpeed prints on standard output that it found no accelerator.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    gpus = torch.cuda.device_count() if gpu else 0
    folder = Path(tempfile.mkdtemp(prefix="curlvpr-smoke-"))
    passed = run_checks(ON_GPUS if gpu else ON_CPU, Context(folder, gpu, "bfloat16" if gpu else "float32"), gpus)
    if passed:
        shutil.rmtree(folder)
    else:
        print(f"the files of the checks are kept in {folder}")
    return passed


def run_checks(checks: Sequence[Check], context: Context, gpus: int) -> bool:
    """Runs the checks in turn, and prints a line for each.

    Args:
        gpus: how many there are; checks that need more are left out.

    Returns:
        Whether none failed.
    """
    counts = {"ok": 0, "failed": 0, "left out": 0}
    for check in checks:
        start = time.monotonic()
        result, text = _run_check(check, context, gpus)
        counts[result] += 1
        print(f"{result:<8}  {check.name}: {text} ({time.monotonic() - start:.0f} s)", flush=True)
    print(", ".join(f"{count} {result}" for result, count in counts.items() if count or result != "left out"))
    return not counts["failed"]


def _run_check(check: Check, context: Context, gpus: int) -> tuple[str, str]:
    """The result, and the finding or the reason in words."""
    if gpus < check.gpus:
        return "left out", f"it needs {check.gpus} GPUs, here {'is' if gpus == 1 else 'are'} {gpus}"
    try:
        return "ok", check.run(context)
    except CheckFailed as error:
        return "failed", str(error)
    except Exception as error:  # noqa: BLE001 - a check may break in any way; the others still run
        return "failed", error_line(error)
