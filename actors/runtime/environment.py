"""The environment of every process of a run: libraries keep quiet (errors still come through) and share the cores."""

from __future__ import annotations

import logging
import os
import warnings

ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TORCH_NCCL_DUMP_ON_TIMEOUT": "0",  # else a failure of the group that carries weights would end the process (collective.py)
    "OMP_WAIT_POLICY": "PASSIVE",  # rollout workers and learner may share cores: idle threads must not spin
    # Large tensors are taken from the heap again and again instead of being mapped anew: a tenth of the learner's time.
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def quiet_libraries() -> None:
    """Sets the environment and filters for this process; call it before the heavy imports."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore")
    logging.getLogger("DeepSpeed").addFilter(_is_error)  # it sets its level itself, when it is imported
    for name in ("transformers", "vllm", "ray.train", "ray.data", "ray.serve", "ray.dashboard", "ray._private"):
        logging.getLogger(name).setLevel(logging.ERROR)
