"""The environment of every process of a run: libraries log only errors, and processes share the cores."""

from __future__ import annotations

import getpass
import logging
import os
import tempfile
import warnings
import zlib
from pathlib import Path

ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Otherwise a failure of the process group that carries weights would end the process.
    "TORCH_NCCL_DUMP_ON_TIMEOUT": "0",
    "OMP_WAIT_POLICY": "PASSIVE",  # rollout workers and learner may share cores: idle threads must not spin
    # Large tensors reuse the heap. Mapping them again each time would cost a tenth of the learner's time.
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


# Torch's settings of its memory on GPUs, by one of these names.
ALLOCATOR_NAMES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
# Segments that grow: packs of ever other sizes leave no gaps between them that no pack fits into.
ALLOCATOR_SETTINGS = "expandable_segments:True"

MAX_FOLDER = 40  # characters; Ray's sockets lie 66 below its temporary folder, and may have 107 in all
SHORT_FOLDER = "/tmp"


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def name_user() -> None:
    """Gives a user without an entry in the system's list of users a name and a home, which libraries ask for."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        os.environ["USER"] = f"user-{os.getuid()}"
    try:
        Path.home()
    except RuntimeError:
        home = Path(tempfile.gettempdir(), f"home-{os.getuid()}")
        home.mkdir(mode=0o700, exist_ok=True)
        os.environ["HOME"] = str(home)


def shorten_temporary_folder() -> None:
    """Reaches a temporary folder with a long path by a link with a short one: it must hold sockets of Ray and vLLM."""
    folder = tempfile.gettempdir()
    if len(folder) <= MAX_FOLDER:
        return
    link = f"{SHORT_FOLDER}/t-{os.getuid()}-{zlib.crc32(os.fsencode(folder)):08x}"
    try:
        if not os.path.lexists(link):
            os.symlink(folder, link)
        is_ours = os.lstat(link).st_uid == os.getuid() and os.readlink(link) == folder
    except OSError:
        is_ours = False
    os.environ["TMPDIR"] = tempfile.tempdir = link if is_ours else SHORT_FOLDER


def avoid_fragmentation() -> None:
    """Lets torch's memory on GPUs grow in place, unless the user has set how it grows. Before the first tensor there.

    As a variable of the environment it would come too late for a process in which torch knows its GPU already.
    """
    if not any(os.environ.get(name) for name in ALLOCATOR_NAMES):
        import torch

        torch._C._accelerator_setAllocatorSettings(ALLOCATOR_SETTINGS)


def quiet_libraries() -> None:
    """Sets the environment variables and log filters of this process. Call it before importing large libraries."""
    name_user()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    shorten_temporary_folder()
    warnings.filterwarnings("ignore")
    logging.getLogger("DeepSpeed").addFilter(_is_error)  # a filter, because it sets its level when imported
    for name in ("transformers", "vllm", "ray.train", "ray.data", "ray.serve", "ray.dashboard", "ray._private"):
        logging.getLogger(name).setLevel(logging.ERROR)
