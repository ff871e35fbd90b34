"""Lets vLLM's second model runner ("V2"), which GPUs have, run on a CPU as it does there: Triton interprets its
kernels, and scheduling is asynchronous.

vLLM looks for Triton when it is imported, so this must be imported before, in the worker's process and in the engine's.
It does nothing unless `SECOND_RUNNER` is in the environment.
"""

import os
from types import SimpleNamespace

SECOND_RUNNER = {"VLLM_USE_V2_MODEL_RUNNER": "1", "TRITON_INTERPRET": "1"}


class Driver:
    """What Triton's interpreter and vLLM ask of a backend."""

    @staticmethod
    def is_active():
        return True

    def get_current_device(self):
        return 0

    def get_current_target(self):
        return None

    def get_active_torch_device(self):
        import torch

        return torch.device("cpu")


def wanted():
    """Whether this process is one for the second model runner."""
    return SECOND_RUNNER.items() <= os.environ.items()


def keep_asynchronous():
    """From here on this process makes engines with asynchronous scheduling, which vLLM turns off on a CPU."""
    from vllm.platforms.cpu import CpuPlatform

    plain = CpuPlatform.check_and_update_config.__func__

    def check_and_update_config(cls, config):
        plain(cls, config)
        config.scheduler_config.async_scheduling = True

    CpuPlatform.check_and_update_config = classmethod(check_and_update_config)


if wanted():
    from triton.backends import backends

    backends["cpu"] = SimpleNamespace(driver=Driver, compiler=None)
