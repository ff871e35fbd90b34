"""Rollout workers: Ray actors around vLLM's AsyncLLM that turn requests into groups of responses."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import ray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from curriculum.images import load_image

from .encode import Encoder, PromptConfig
from .title import set_title
from .trajectory import Group, Request, Trajectory
from .weights import Version


class RolloutConfig(BaseModel):
    """How many workers, what each holds, and how they sample."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workers: PositiveInt = 1
    min: PositiveInt | None = Field(None, description="with max: the number of workers follows the balance between the time "
                                    "that responses take and the time that learning takes")
    max: PositiveInt | None = None
    cpus: PositiveFloat = 1
    gpus: float = Field(0, ge=0, description="of one worker; its tensor-parallel size where above 1")
    placement: Literal["pack", "spread"] = Field("pack", description="workers on as few nodes as can be, or on as many")
    dtype: str = "float32"
    temperature: PositiveFloat = 1.0
    max_response_tokens: PositiveInt = 128
    max_model_tokens: PositiveInt = 512
    max_sequences: PositiveInt = 256
    max_batched_tokens: PositiveInt = 16384
    threads: PositiveInt = Field(1, description="of one worker's engine, on CPU")
    kv_cache_gib: PositiveInt = Field(1, description="on CPU; on a GPU `gpu_memory` rules")
    gpu_memory: float = Field(0.9, gt=0, le=1, description="of what `gpus` gives a worker: with 0.5, of half a GPU")
    probe_tolerance: PositiveFloat = Field(1e-4, description="largest log-probability difference of a verified worker")
    timeout_s: PositiveFloat = Field(600, description="for a worker's share of a step, its start, and an update of its weights")
    silent_s: PositiveFloat = Field(60, description="a worker that gives no sign of life for so long is replaced")

    @property
    def gpu_share(self) -> float:
        """What an engine takes of each of its GPUs."""
        return self.gpu_memory * min(1.0, self.gpus)

    @model_validator(mode="after")
    def _range_holds_workers(self) -> "RolloutConfig":
        if (self.min is None) != (self.max is None):
            raise ValueError("min and max of the rollout workers are given together")
        if self.min is not None and not self.min <= self.workers <= self.max:
            raise ValueError(f"workers {self.workers} is not between min {self.min} and max {self.max}")
        return self


class WeightsMismatch(RuntimeError):
    """After an update the engine's numbers are not the learner's."""


class RolloutWorker:
    """One engine. It may be given new weights while it generates: each token keeps the version that wrote it.

    Args:
        rank: its number, for its name.
        store: the `WeightStore` actor; None where nobody trains: then the model folder's own weights are version 0.
    """

    extension = "actors.engine_extension.WeightReader"  # vLLM mixes it into its own worker

    def __init__(self, rank: int, config: RolloutConfig, model: str, prompt: PromptConfig, store: Any, images: int) -> None:
        from .environment import quiet_libraries

        quiet_libraries()
        self.rank, self.config, self.model, self.store, self.images = rank, config, model, store, images
        self.version: Version | None = None
        self.encoder = Encoder(model, prompt)
        self.counter = 0
        self.pausing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"rollout-{self.rank}" + (f" v{self.version.number}" if self.version else "")

    async def ping(self) -> None:
        """Answers as long as the process is alive."""

    async def ready(self) -> str:
        """Builds the engine on the model folder's weights; where there is a store, it may not generate before `update`.

        Returns:
            The id of the worker's node.
        """
        for name, value in engine_environment(self.config).items():
            os.environ[name] = value
        from transformers import AutoConfig
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        from .engine_extension import FORBIDDEN_KEY, TokenMask

        config = self.config
        vocab = AutoConfig.from_pretrained(self.model).get_text_config().vocab_size
        on_cpu = config.gpus == 0
        arguments: dict[str, Any] = dict(
            model=self.model, dtype=config.dtype, max_model_len=config.max_model_tokens,
            max_num_seqs=config.max_sequences, max_num_batched_tokens=config.max_batched_tokens,
            limit_mm_per_prompt={"image": self.images, "video": 0}, logprobs_mode="processed_logprobs",
            load_format="safetensors",  # a pickle from elsewhere could run anything
            worker_extension_cls=self.extension, enable_log_requests=False, seed=0,
            disable_log_stats=True, logits_processors=[TokenMask],
            additional_config={FORBIDDEN_KEY: self.encoder.forbidden(vocab)})
        if on_cpu:  # seeded requests crash the CPU engine when their prefill is chunked
            arguments |= dict(enforce_eager=True, enable_chunked_prefill=False, distributed_executor_backend="uni")
        else:
            arguments |= dict(tensor_parallel_size=max(1, int(config.gpus)), gpu_memory_utilization=config.gpu_share)
        self.engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
        self.watching = asyncio.create_task(self._end_with_engine())
        if self.store is None:
            self.version = Version(0, 0)
            await self.engine.update_weight_version(str(self.version))
            set_title(repr(self))
        return ray.get_runtime_context().get_node_id()

    async def _end_with_engine(self) -> None:
        """Without its engine, whose calls may never come back, the worker is of no use; its pool starts another."""
        while not self.engine.errored:
            await asyncio.sleep(1)
        os._exit(1)

    @asynccontextmanager
    async def _paused(self) -> AsyncIterator[None]:
        """The engine stands still inside; what it was writing is kept, and goes on afterwards."""
        async with self.pausing:
            await self.engine.pause_generation(mode="keep", clear_cache=False)
            yield
            await self.engine.resume_generation()

    async def update(self, version: Version) -> float:
        """Takes the weights `version` from the store and proves that the engine holds them.

        Responses that are being written go on with the new weights, which read their beginning anew.

        Returns:
            The largest log-probability difference over the probe.

        Raises:
            WeightsMismatch: the engine's numbers are not the learner's; the worker stays without a version.
        """
        reference, probe = await self.store.fetch.remote(version)
        weights = await reference
        self.version = None
        with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="curlvpr-", suffix=".safetensors") as file:
            await asyncio.to_thread(lambda: (file.write(memoryview(weights)), file.flush()))
            async with self._paused():
                await self.engine.collective_rpc("read_weights", timeout=self.config.timeout_s, args=(file.name,))
                await self.engine.reset_prefix_cache(reset_running_requests=True)
                # The engine's front holds caches of its own; stale ones give old images or a missing one.
                await self.engine.reset_mm_cache()
                await self.engine.reset_encoder_cache()
                await self.engine.update_weight_version(str(version))
        difference = await self._probe(probe)
        if not difference <= self.config.probe_tolerance:
            raise WeightsMismatch(f"rollout-{self.rank} does not hold weights version {version}: log-probabilities of the probe "
                                  f"differ by {difference:.2g} (at most {self.config.probe_tolerance:g} is allowed)")
        self.version = version
        set_title(repr(self))
        return difference

    async def _probe(self, probe: Sequence[tuple[Any, np.ndarray]]) -> float:
        """Largest |engine − learner| over the response tokens of the probe's samples, by prompt log-probabilities."""
        from vllm import SamplingParams

        worst = 0.0
        parameters = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        for sample, expected in probe:
            ids = [*self._collapse(sample.prompt_ids), *sample.response_ids.tolist()]
            output = await self._finish(await self._submit(ids, sample.images, parameters))
            start = len(output.prompt_token_ids) - len(sample.response_ids)
            got = [output.prompt_logprobs[start + i][token].logprob for i, token in enumerate(sample.response_ids.tolist())]
            worst = max(worst, float(np.abs(np.array(got) - expected).max()))
        return worst

    def _collapse(self, ids: np.ndarray) -> list[int]:
        """One placeholder for each run of them; the engine widens it itself."""
        image = ids == self.encoder.image_token
        return ids[~(image & np.concatenate([[False], image[:-1]]))].tolist()

    async def generate(self, requests: Sequence[Request], temperature: float, version: Version) -> list[Group]:
        """The groups of `requests`, in order.

        All requests are in the engine's queue before it starts, so that batches, and with them bits, are repeatable.

        Raises:
            WeightsMismatch: the worker does not hold `version`.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        if self.version != version:
            raise WeightsMismatch(f"rollout-{self.rank} holds weights version {self.version}, {version} is wanted")
        queues = []
        async with self._paused():
            for request in requests:
                parameters = SamplingParams(
                    n=request.count, temperature=temperature, seed=request.seed if temperature else None, logprobs=0,
                    max_tokens=self.config.max_response_tokens, detokenize=False, flat_logprobs=True,
                    output_kind=RequestOutputKind.FINAL_ONLY, stop_token_ids=[self.encoder.eos])
                queues.append(await self._submit(self.encoder.prompt_ids(request.task), request.task.images, parameters))
        try:
            return [self._group(request, await self._finish(queue)) for request, queue in zip(requests, queues, strict=True)]
        except asyncio.CancelledError:  # nobody waits for them any more
            await self.engine.abort([queue.request_id for queue in queues], internal=True)
            raise

    async def _submit(self, ids: list[int], images: Sequence[str], parameters: Any) -> Any:
        self.counter += 1
        prompt = {"prompt_token_ids": ids, "multi_modal_data": {"image": [load_image(Path(path)) for path in images]}}
        return await self.engine.add_request(str(self.counter), prompt, parameters)

    @staticmethod
    async def _finish(queue: Any) -> Any:
        while not (output := queue.get_nowait() or await queue.get()).finished:
            pass
        queue.close()
        return output

    def _group(self, request: Request, output: Any) -> Group:
        trajectories = []
        for index, answer in enumerate(sorted(output.outputs, key=lambda o: o.index)):
            ids = np.array(answer.token_ids, np.int32)
            text, char_ends = self.encoder.text_with_offsets(ids)
            trajectories.append(Trajectory(
                text=text, ids=ids, logprobs=np.array(answer.logprobs.logprobs, np.float32), versions=_versions(answer, len(ids)),
                char_ends=char_ends, finish="stop" if answer.finish_reason == "stop" else "length",
                seed=request.seed + index))
        return Group(request.group_id, request.task, np.array(output.prompt_token_ids, np.int32), tuple(trajectories))


def _versions(answer: Any, count: int) -> np.ndarray:
    """int32 [tokens] from the engine's spans of versions."""
    versions = np.zeros(count, np.int32)
    for span in answer.weight_versions:
        versions[span.start :] = int(span.version.partition(".")[2])
    return versions


def engine_environment(config: RolloutConfig) -> dict[str, str]:
    """What vLLM reads from the environment, in the worker and its engine process."""
    if config.gpus:
        return {}
    return {
        "TORCH_COMPILE_DISABLE": "1",  # else the log-probability gather compiles for seconds at every new shape
        "VLLM_CPU_KVCACHE_SPACE": str(config.kv_cache_gib),
        # By itself every engine binds its threads to the machine's first cores: several would share one core.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(config.threads),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # lets the model run in the engine's process ("uni"), not beside it
    }
