"""Keeps the libraries' own messages out of the user's log; errors still come through."""

from __future__ import annotations

import logging
import os
import warnings

ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "DS_LOG_LEVEL": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_WAIT_POLICY": "PASSIVE",  # rollout workers and learner may share cores: idle threads must not spin
}
"""For every process of a run."""


def quiet_libraries() -> None:
    """Sets the environment and filters for this process; call it before the heavy imports."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore")
    for name in ("DeepSpeed", "transformers", "vllm", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
