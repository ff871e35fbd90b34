"""Rollout workers: Ray actors around an engine that turn requests into groups of responses."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any, TextIO

import numpy as np
import ray

from actors.model.config import Lora
from actors.model.encode import Encoder, PromptConfig
from actors.rollout.config import RolloutConfig
from actors.rollout.gpu_lock import lock_gpu
from actors.rollout.probe import probe_fault
from actors.rollout.vllm_engine import EnginePrompt, VllmEngine, begin_imports
from actors.runtime.process_title import set_title
from actors.trajectory import Group, Request, Trajectory
from actors.weights.transports import TRANSPORTS
from actors.weights.transports.base import Receiver, ReceiverContext, Transport
from actors.weights.version import ASLEEP, Version

SLEEPER_GOES_S = 30  # for an engine that was killed to let go of its GPU


class WeightsMismatch(RuntimeError):
    """After an update the engine's numbers are not the learner's."""


class RolloutWorker:
    """One engine. It may be given new weights while it generates: each token keeps the version that wrote it.

    Args:
        rank: its number, for its name.
        store: the `WeightStore` actor, or None if nobody trains: then the model folder's own weights are version 0.
        images: the largest number of images that a task has.
        transport: the way by which new weights come.
        lora: of the learner, if new weights are its adapters alone.
    """

    extension = "actors.rollout.vllm_extension.WeightReader"  # vLLM mixes it into its own worker

    def __init__(
        self,
        rank: int,
        config: RolloutConfig,
        model: str,
        prompt: PromptConfig,
        store: Any,
        images: int,
        transport: Transport = TRANSPORTS["store"],
        lora: Lora | None = None,
    ) -> None:
        from actors.runtime.environment import quiet_libraries

        quiet_libraries()
        begin_imports(config)
        self.rank, self.config, self.model, self.images, self.lora = rank, config, model, images, lora
        self.receiver: Receiver | None = None
        if store is not None:
            context = ReceiverContext(f"rollout-{rank}", store, max(1, int(config.gpus)), config.timeout_s)
            self.receiver = transport.receiver(context)
        self.version: Version | None = None
        self.encoder = Encoder(model, prompt)

    def __repr__(self) -> str:
        return f"rollout-{self.rank}" + (f" v{self.version.number}" if self.version else "")

    async def ping(self) -> None:
        """Answers as long as the process is alive."""

    async def close(self) -> None:
        """Leaves what the workers of a node share. The worker is not used any more."""
        self.encoder.close()

    async def ready(self) -> str:
        """Builds the engine on the model folder's weights. If new weights will come, it may not generate before
        `update`.

        Returns:
            The id of the worker's node.
        """
        gpu_lock = await self._lock_gpu()
        self.engine = VllmEngine(
            self.config,
            self.model,
            self.encoder,
            self.images,
            self.extension,
            lora=self.lora,
            stat_loggers=self._stat_loggers(),
        )
        if gpu_lock and not self.config.sleep:  # the next engine may start
            gpu_lock.close()
        self.gpu_lock = gpu_lock
        self.watching = asyncio.create_task(self._end_with_engine())
        if self.receiver is None:
            self.version = Version(0, 0)
            await self.engine.llm.update_weight_version(str(self.version))
            set_title(repr(self))
        node: str = ray.get_runtime_context().get_node_id()
        return node

    def _stat_loggers(self) -> list[Any]:
        if not self.config.tells_metrics:
            return []
        from actors.rollout.engine_metrics import ray_metrics

        return [ray_metrics()]

    async def _lock_gpu(self) -> TextIO | None:
        """Of an engine that gets a part of a GPU. One that sleeps keeps the lock, since it takes most of the GPU when
        it is awake.

        Raises:
            GpuTaken: another engine does not let go of it.
        """
        if not 0 < self.config.gpus < 1:
            return None
        (gpu,) = ray.get_runtime_context().get_accelerator_ids()["GPU"]
        return await lock_gpu(gpu, SLEEPER_GOES_S if self.config.sleep else self.config.timeout_s)

    async def _end_with_engine(self) -> None:
        """Ends the worker if its engine dies: the engine's calls may never come back, and the pool starts another
        worker.
        """
        await self.engine.wait_until_dead()
        os._exit(1)

    async def update(self, version: Version) -> float:
        """Takes the weights `version` and proves that the engine holds them; or sleeps if it is `ASLEEP`.

        Responses that are being written go on with the new weights, which read their beginning again.

        Returns:
            The largest log-probability difference over the probe.

        Raises:
            WeightsMismatch: the engine's numbers are not the learner's; the worker stays without a version.
            RemoteFailure: the weights did not come; the worker keeps the version that it has.
        """
        if version == ASLEEP:
            await self.engine.sleep()
            self.version = version
            return 0.0
        if self.receiver is None:
            raise WeightsMismatch(f"rollout-{self.rank} has the model folder's weights and takes no others")
        delivery = await self.receiver.fetch(version)
        if self.version == ASLEEP:
            await self.engine.wake()
        self.version = None  # until it has all of them: half a model must not generate
        async with self.engine.weights_swapped(str(version)):
            probe = await delivery.load(self.engine)
        difference = await self.engine.compare(probe)
        fault = probe_fault(difference, self.config.tolerance)
        if fault:
            raise WeightsMismatch(f"rollout-{self.rank} does not hold weights version {version}: {fault}")
        self.version = version
        set_title(repr(self))
        return difference.largest

    async def generate(
        self, requests: Sequence[Request], temperature: float, version: Version
    ) -> AsyncIterator[tuple[int, Group]]:
        """Yields the groups of `requests` as they are finished, each with its number among the requests.

        All requests are in the engine's queue before it starts, so that batches, and with them bits, are repeatable.

        Raises:
            WeightsMismatch: the worker does not hold `version`.
        """
        if self.version != version:
            raise WeightsMismatch(f"rollout-{self.rank} holds weights version {self.version}, {version} is wanted")
        prompts = []
        for request in requests:
            ids = self.encoder.prompt_ids(request.task)
            prompts.append(EnginePrompt(ids, request.task.images, self._sampling(request, temperature)))
        queues = await self.engine.submit_all(prompts)

        async def finish(number: int) -> tuple[int, Group]:
            return number, self._group(requests[number], await self.engine.finish(queues[number]))

        groups = [asyncio.create_task(finish(number)) for number in range(len(requests))]
        try:
            for group in asyncio.as_completed(groups):
                yield await group
        except asyncio.CancelledError:  # nobody waits for them any more
            await self.engine.llm.abort([queue.request_id for queue in queues], internal=True)
            raise
        finally:
            for group in groups:
                group.cancel()

    def _sampling(self, request: Request, temperature: float) -> Any:
        """vLLM's SamplingParams."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            n=request.count,
            temperature=temperature,
            top_p=self.config.top_p,
            top_k=self.config.top_k or 0,
            min_p=self.config.min_p,
            seed=request.seed if temperature else None,
            logprobs=0,
            max_tokens=self.config.max_response_tokens,
            stop=list(self.config.stop),
            detokenize=bool(self.config.stop),
            flat_logprobs=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
            stop_token_ids=[self.encoder.eos],
        )

    def _group(self, request: Request, output: Any) -> Group:
        trajectories = []
        for index, answer in enumerate(sorted(output.outputs, key=lambda o: o.index)):
            ids = np.array(answer.token_ids, np.int32)
            text, char_ends = self.encoder.text_with_offsets(ids)
            trajectories.append(
                Trajectory(
                    text=text,
                    ids=ids,
                    logprobs=np.array(answer.logprobs.logprobs, np.float32),
                    versions=_versions(answer, len(ids)),
                    char_ends=char_ends,
                    finish="stop" if answer.finish_reason == "stop" else "length",
                    seed=request.seed + index,
                )
            )
        return Group(request.group_id, request.task, np.array(output.prompt_token_ids, np.int32), tuple(trajectories))


def _versions(answer: Any, count: int) -> np.ndarray:
    """int32 [tokens] from the engine's spans of versions."""
    versions: np.ndarray = np.zeros(count, np.int32)
    for span in answer.weight_versions:
        versions[span.start :] = int(span.version.partition(".")[2])
    return versions
