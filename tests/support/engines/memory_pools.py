"""The memory pools of vLLM's sleep mode, on a CPU: what an engine on a GPU loses when it sleeps is overwritten here.

vLLM's own worker saves and restores what it saves and restores on a GPU. Only the allocator below it is another one.
"""

from collections import defaultdict
from functools import cached_property
from unittest.mock import patch

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from vllm.device_allocator.sleep_mode_backend import SleepModeBackend
from vllm.v1.worker.cpu_worker import CPUWorker
from vllm.v1.worker.gpu_worker import Worker

from actors.rollout.vllm_cpu import CpuWorker

KEPT = {1: ("weights", "runtime", "cudagraph"), 2: ("runtime", "cudagraph")}  # pools that a level of sleep keeps
GARBAGE = 0x41  # 12.1 as a float (a NaN would spread from masked positions of the cache), 1e9 as an integer


class Pool(TorchFunctionMode):
    """Notes what is made inside that would lie on the GPU: what is made for a `torch.device`, and what is computed from
    that. A device that is named by a string is in vLLM the host's.
    """

    def __init__(self):
        super().__init__()
        self.made = {}  # weak references to storages, by address; as long as there is one, no address is used again

    def __torch_function__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        given = tree_leaves((arguments, options))
        if any(isinstance(value, torch.device) or self.has(value) for value in given):
            for tensor in tree_leaves(result):
                if isinstance(tensor, torch.Tensor) and not tensor.is_meta:
                    reference = StorageWeakRef(tensor.untyped_storage())
                    self.made[reference.cdata] = reference
        return result

    def has(self, value):
        return isinstance(value, torch.Tensor) and not value.is_meta and value.untyped_storage()._cdata in self.made

    def storages(self):
        """Those that still live."""
        living = [torch.UntypedStorage._new_with_weak_ptr(cdata) for cdata in self.made]
        return [storage for storage in living if storage is not None]


class Pools(SleepModeBackend):
    """In place of the allocator of GPUs: memory is garbage after it was given away, and after it came back.

    Attributes:
        events: what happened to the memory, in order.
    """

    def __init__(self, worker):
        super().__init__()
        self.worker, self.pools, self.events = worker, defaultdict(Pool), []

    def suspend(self, level=1):
        self.events.append(f"sleep {level}")
        self.lost = set(self.pools) - set(KEPT[level])
        self._spoil(self.lost)

    def resume(self, tags=None):
        self.events.append("wake " + " and ".join(tags or ["all"]))
        self._spoil(self.lost.intersection(tags or self.lost))

    def _spoil(self, tags):
        for tag in tags:
            storages = self.pools[tag].storages()
            if tag == "weights":
                model = self.worker.model_runner.get_model()
                storages += [tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers())]
            for storage in storages:
                storage.fill_(GARBAGE)


class WithPools:
    """Mixed into a worker for CPUs, which knows no sleep."""

    @cached_property
    def sleep_mode_backend(self):
        return Pools(self)

    def _maybe_get_memory_pool_context(self, tag):
        return self.sleep_mode_backend.pools[tag]

    def sleep(self, level=1):
        with patch.multiple(torch.accelerator, synchronize=lambda: None, get_memory_info=lambda: (0, 0)):
            Worker.sleep(self, level)

    def wake_up(self, tags=None):
        Worker.wake_up(self, tags)


class FirstRunner(WithPools, CpuWorker):
    pass


class SecondRunner(WithPools, CPUWorker):
    pass
