"""A rollout worker that tests look into, down to its engine's process."""

import gc

import torch

from actors.rollout.vllm_engine import ENGINE_IMPORTS
from actors.rollout.worker import RolloutWorker
from tests.support.engines import second_runner
from tests.support.engines.faulty_loader import FaultyReader

BLOCKS = 128  # of the KV cache; all of them are overwritten at every sleep


class WatchedReader(FaultyReader):
    """In the engine's process."""

    def begin_weights(self):
        self.sleep_mode_backend.events.append("load")
        super().begin_weights()

    def memory_events(self):
        """What happened to the engine's memory since the last call."""
        events, self.sleep_mode_backend.events = self.sleep_mode_backend.events, []
        return events

    def own_tensors(self):
        """The tensors that the project's own objects have, and whether a sleeping engine loses them."""
        pools = [pool for tag, pool in self.sleep_mode_backend.pools.items() if tag in ("weights", "kv_cache")]
        gc.unfreeze()  # vLLM hides its objects from the garbage collector
        lost = {}
        for thing in gc.get_objects():
            if str(type(thing).__module__).startswith("actors."):
                for name, value in getattr(thing, "__dict__", {}).items():
                    if isinstance(value, torch.Tensor):
                        key = f"{type(thing).__name__}.{name}"
                        lost[key] = lost.get(key, False) or any(pool.has(value) for pool in pools)
        return lost


class WatchedWorker(RolloutWorker):
    """Its engine loses memory when it sleeps, and has the model runner of GPUs if the environment says so."""

    extension = "tests.support.engines.worker.WatchedReader"

    def __init__(self, rank, config, *arguments):
        ENGINE_IMPORTS.insert(0, second_runner.__name__)
        runner = "SecondRunner" if second_runner.wanted() else "FirstRunner"
        engine = {"worker_cls": f"tests.support.engines.memory_pools.{runner}", "num_gpu_blocks_override": BLOCKS}
        super().__init__(rank, config.model_copy(update={"engine": engine}), *arguments)
        self.context = self.receiver.context

    async def ready(self):
        second = second_runner.wanted()
        if second:
            second_runner.keep_asynchronous()
        node = await super().ready()
        config = self.engine.llm.vllm_config
        assert config.use_v2_model_runner == config.scheduler_config.async_scheduling == second
        return node

    async def use_transport(self, transport):
        """From here on weights come by another transport."""
        self.receiver = transport.receiver(self.context)

    async def ask_engine(self, method, *arguments):
        """What a method of the reader's answers."""
        (answer,) = await self.engine.llm.collective_rpc(method, args=arguments)
        return answer
