"""vLLM's AsyncLLM on a model folder: built once, given new weights while it generates."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from actors.model.config import Lora
from actors.model.encode import Encoder
from actors.rollout.adapters import adapter_arguments, adapter_request
from actors.rollout.config import RolloutConfig
from actors.rollout.probe import ProbeDifference
from actors.weights.store import Offer
from actors.weights.version import Probe

ENGINE_IMPORTS = ["vllm.v1.engine.core", "vllm.v1.executor.uniproc_executor", "actors.rollout.vllm_cpu"]
PROBED_TOKENS = 4  # forbidden ones, whose probability a probe asks for


class EnginePrompt(NamedTuple):
    """A prompt for the engine.

    Attributes:
        ids: its tokens, with one placeholder for each image.
        images: paths.
        parameters: vLLM's SamplingParams.
    """

    ids: list[int]
    images: Sequence[str]
    parameters: Any


class PromptMismatch(RuntimeError):
    """The engine does not read a prompt as the learner does."""


class MaskLost(RuntimeError):
    """The engine would write tokens that no response may contain."""


class VllmEngine:
    """The engine of rollout workers and of the served policy. Must be made inside a running event loop.

    Args:
        encoder: of the same folder; tokens that it forbids are never written.
        images: the largest number of images that a prompt has.
        extension: the import path of the class that vLLM mixes into its own worker.
        image_cache: whether vLLM's front sends each image to the engine only once. Turn it off if prompts are
            submitted while `load` empties the caches: a pending prompt would then refer to an image that is gone, and
            fail.
        lora: of the learner, if versions are its adapters alone; None if they are whole weights.
        stat_loggers: classes of vLLM's `StatLoggerBase`, which get the engine's statistics; without any it keeps none.

    Attributes:
        llm: vLLM's AsyncLLM.

    Raises:
        ValueError: vLLM would not compute what the model does.
    """

    def __init__(
        self,
        config: RolloutConfig,
        model: str,
        encoder: Encoder,
        images: int,
        extension: str = "actors.rollout.vllm_extension.WeightReader",
        image_cache: bool = True,
        lora: Lora | None = None,
        stat_loggers: Sequence[Any] = (),
    ) -> None:
        begin_imports(config)
        import vllm.v1.engine.utils
        from transformers import AutoConfig
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        from actors.rollout.vllm_extension import FORBIDDEN_KEY, TokenMask

        model_config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        refusal = None if config.gpus else encoder.family.refused_on_cpu(model_config, config.dtype, images > 0)
        if refusal:
            raise ValueError(refusal)
        self.config, self.encoder = config, encoder
        self.film_pool = ThreadPoolExecutor(config.film_readers, "films")
        self.adapters = adapter_request() if lora else None
        self.counter = 0
        self.pausing = asyncio.Lock()
        self.unanswered: set[asyncio.Future[None]] = set()
        self.cache_sleeps = False
        self.forbidden = encoder.forbidden(model_config.get_text_config().vocab_size)
        arguments: dict[str, Any] = dict(
            model=model,
            dtype=config.dtype,
            max_model_len=config.max_model_tokens,
            max_num_seqs=config.max_sequences,
            max_num_batched_tokens=config.max_batched_tokens,
            logprobs_mode="processed_logprobs",
            load_format="safetensors",  # a pickle from elsewhere could run anything
            worker_extension_cls=extension,
            enable_log_requests=False,
            seed=0,
            disable_log_stats=True,
            logits_processors=[TokenMask],
            additional_config={FORBIDDEN_KEY: self.forbidden},
            # The learner's head is in float32 as well; in 16 bits the logits of both would be rounded apart.
            hf_overrides={"head_dtype": "float32"},
        )
        if encoder.family.reads_images:
            arguments["limit_mm_per_prompt"] = {"image": max(1, images), "video": 0, "audio": 0}
        if encoder.prompt.sets_pixels:
            arguments["mm_processor_kwargs"] = {"size": dict(encoder.processor.image_processor.size)}
        if lora:
            arguments |= adapter_arguments(lora)
        if not image_cache:
            arguments["mm_processor_cache_gb"] = 0
        if config.gpus == 0:  # seeded requests crash the CPU engine if their prefill is chunked
            arguments |= dict(
                enforce_eager=True,
                enable_chunked_prefill=False,
                distributed_executor_backend="uni",
                worker_cls="actors.rollout.vllm_cpu.CpuWorker",
            )
            if encoder.family.linear_attention:  # prefixes of such layers are only kept with chunked prefill
                arguments["enable_prefix_caching"] = False
            vllm.v1.engine.utils.get_mp_context = lambda: multiprocessing.get_context("forkserver")
        else:
            arguments |= dict(
                tensor_parallel_size=max(1, int(config.gpus)),
                gpu_memory_utilization=config.gpu_share,
                enable_sleep_mode=config.sleep,
            )
        engine_arguments = AsyncEngineArgs(**(arguments | config.engine))
        self.llm = AsyncLLM.from_engine_args(engine_arguments, stat_loggers=list(stat_loggers))
        self._send_images_once()

    def _send_images_once(self) -> None:
        """Has the images of a prompt go to the engine's process with the first of its responses alone. vLLM sends them
        with each, also when that process keeps them.
        """
        from vllm.multimodal.cache import LruKeyReplicatedSenderCache

        sent_before = self.llm.renderer.mm_processor_cache  # mirrors what the engine's process keeps
        if not isinstance(sent_before, LruKeyReplicatedSenderCache):
            return
        core = self.llm.engine_core
        send = core.add_request_async

        async def send_once(request: Any) -> None:
            await send(request)
            for number, image in enumerate(request.mm_features or ()):  # a list that all of the responses share
                if sent_before.is_cached_item(image.mm_hash):
                    request.mm_features[number] = replace(image, data=None)

        core.add_request_async = send_once

    async def wait_until_dead(self) -> None:
        """Returns once the engine has died; its calls may never come back then."""
        while not self.llm.errored:
            await asyncio.sleep(1)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """The engine generates nothing inside. Responses that are being written are kept, and go on afterwards."""
        async with self.pausing:
            # Like pause_generation, without its sleep of 20 ms for pending outputs, which nobody here waits for.
            await self.llm.engine_core.pause_scheduler_async(mode="keep", clear_cache=False)
            try:
                yield
            finally:
                await self.llm.resume_generation()

    @asynccontextmanager
    async def _held_back(self) -> AsyncIterator[None]:
        """Prompts that are added inside begin together at its end. Responses that are being written go on."""
        # vLLM answers this order when nothing is being written any more, so only its departure is waited for.
        order = asyncio.ensure_future(self.llm.engine_core.pause_scheduler_async(mode="wait", clear_cache=False))
        self.unanswered.add(order)
        order.add_done_callback(self._answered)
        await asyncio.sleep(0)
        try:
            yield
        finally:
            await self.llm.resume_generation()

    def _answered(self, order: asyncio.Future[None]) -> None:
        self.unanswered.discard(order)
        if not order.cancelled():
            order.exception()  # of an engine that died, which whoever waits for a response is told

    async def load(self, files: Iterable[str | Path], version: str) -> None:
        """`read` inside `weights_swapped`."""
        async with self.weights_swapped(version):
            await self.read(files)

    async def read(self, files: Iterable[str | Path]) -> None:
        """Loads the weights of safetensors files, which together are the whole version, one after the other."""
        async with self._weights():
            rest = iter(files)
            while (file := await asyncio.to_thread(next, rest, None)) is not None:
                await self._call("read_weights", str(file))

    async def receive(self) -> None:
        """Loads a whole version from the group that was joined. If that fails, some of it may be loaded, and the group
        is over.
        """
        async with self._weights():
            await self._call("receive_weights")

    async def join(self, offer: Offer) -> None:
        """Brings the engine's processes into the group of an offer, and out of the previous one."""
        await self._call("join_weights", offer.address, offer.port, offer.first, offer.names, offer.limit_s)

    @asynccontextmanager
    async def _weights(self) -> AsyncIterator[None]:
        await self._call("begin_weights")
        try:
            yield
        finally:
            await self._call("end_weights")

    @asynccontextmanager
    async def weights_swapped(self, version: str) -> AsyncIterator[None]:
        """The engine is paused inside, for new weights by `read` or `receive`. Responses that are being written go on
        with these afterwards, and read their beginning again.
        """
        async with self.paused():
            yield
            if self.cache_sleeps:
                await self.llm.wake_up(["kv_cache"])
                self.cache_sleeps = False
            await self.llm.reset_prefix_cache(reset_running_requests=True)
            # The engine's front has caches of its own; if these are stale, it sees an old image, or misses one.
            await self.llm.reset_mm_cache()
            await self.llm.reset_encoder_cache()
            await self.llm.update_weight_version(version)

    async def _call(self, method: str, *arguments: Any) -> None:
        await self.llm.collective_rpc(method, timeout=self.config.timeout_s, args=arguments)

    async def sleep(self) -> None:
        """Gives the GPU's memory back, weights and cache; call `wake`, then `load`, before the next prompt. A CPU
        keeps them. If versions are adapters alone, the weights stay in RAM meanwhile.
        """
        await self.llm.sleep(level=1 if self.adapters else 2)
        self.cache_sleeps = True

    async def wake(self) -> None:
        """Takes the memory of the weights, which are empty then, unless they stayed in RAM. That of the cache follows
        after `load`, so that new weights, which arrive in parts, do not need room beside it.
        """
        await self.llm.wake_up(["weights"])

    async def compare(self, probe: Probe) -> ProbeDifference:
        """How far the engine is from the learner on the probe's response tokens, by prompt log-probabilities.

        Raises:
            PromptMismatch: the engine reads other tokens than the learner.
            MaskLost: forbidden tokens have a chance.
        """
        from vllm import SamplingParams

        forbidden = self.forbidden[:PROBED_TOKENS]
        parameters = SamplingParams(
            max_tokens=1,
            temperature=0.0,
            prompt_logprobs=0,
            logprobs=len(forbidden) or None,
            logprob_token_ids=forbidden or None,
            detokenize=False,
        )
        queues = []
        for task, sample, _ in probe:  # all at once: one forward if they fit
            ids = [*self.encoder.prompt_ids(task), *sample.response_ids.tolist()]
            queues.append(await self.submit(EnginePrompt(ids, sample.images, parameters)))
        differences = []
        for (task, sample, expected), queue in zip(probe, queues, strict=True):
            output = await self.finish(queue)
            start = len(sample.prompt_ids)
            if not np.array_equal(output.prompt_token_ids, [*sample.prompt_ids, *sample.response_ids]):
                raise PromptMismatch(
                    f"task {task.id!r}: the engine reads {len(output.prompt_token_ids)} tokens, the learner "
                    f"{len(sample)}, or others: vLLM and the model's processor do not agree on its images"
                )
            got = [
                output.prompt_logprobs[start + i][token].logprob for i, token in enumerate(sample.response_ids.tolist())
            ]
            differences.append(np.array(got) - expected)
            for token in forbidden:
                if output.outputs[0].logprobs[0][token].logprob != -math.inf:
                    raise MaskLost(f"the engine gives the forbidden token {token} a chance: its mask was lost")
        return ProbeDifference.over(differences)

    async def submit(self, prompt: EnginePrompt) -> Any:
        """Puts a prompt into the engine's queue; `finish` waits for its output."""
        (ready,) = await self._processed([prompt])
        return await self._add(ready, prompt.parameters)

    async def submit_all(self, prompts: Sequence[EnginePrompt]) -> list[Any]:
        """As `submit`, but the engine begins with none before it has all, so that its batches are repeatable.

        It goes on writing what it has meanwhile. No new weights come, since they would empty the caches that processed
        prompts refer to.
        """
        async with self.pausing:
            processed = await self._processed(prompts)
            async with self._held_back():
                return [
                    await self._add(ready, prompt.parameters) for ready, prompt in zip(processed, prompts, strict=True)
                ]

    async def _processed(self, prompts: Sequence[EnginePrompt]) -> list[Any]:
        """The prompts with their images as pixels, as the engine takes them. Each image is read once."""
        paths = list(dict.fromkeys(path for prompt in prompts for path in prompt.images))
        loop = asyncio.get_running_loop()
        films = await asyncio.gather(*(loop.run_in_executor(self.film_pool, self.encoder.image, p) for p in paths))
        film_of = dict(zip(paths, films, strict=True))
        inputs = []
        for prompt in prompts:
            values: dict[str, Any] = {"prompt_token_ids": prompt.ids}
            if prompt.images:
                values["multi_modal_data"] = {"image": [film_of[path] for path in prompt.images]}
            inputs.append(values)
        return list(await self.llm.renderer.render_cmpl_async(inputs))

    async def _add(self, ready: Any, parameters: Any) -> Any:
        self.counter += 1
        return await self.llm.add_request(str(self.counter), ready, parameters, lora_request=self.adapters)

    @staticmethod
    async def finish(queue: Any) -> Any:
        while not (output := queue.get_nowait() or await queue.get()).finished:
            pass
        queue.close()
        return output


def begin_imports(config: RolloutConfig) -> None:
    """On a CPU, has a second process import what the engine's process needs, while this one imports its own part.

    vLLM would start the engine's process with nothing when all is imported here, and would wait for it to import the
    same once more. With a fork server it is there by then.
    """
    os.environ.update(engine_environment(config))
    if config.gpus == 0:
        multiprocessing.set_forkserver_preload(ENGINE_IMPORTS)
        forkserver.ensure_running()


def engine_environment(config: RolloutConfig) -> dict[str, str]:
    """What vLLM reads from the environment, in the worker and its engine process."""
    if config.gpus:
        return {}
    return {
        "TORCH_COMPILE_DISABLE": "1",  # else the log-probability gather compiles for seconds at every new shape
        "VLLM_CPU_KVCACHE_SPACE": str(config.kv_cache_gib),
        # By default every engine binds its threads to the machine's first cores: several engines would share one core.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(config.threads),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # lets the model run in the engine's process ("uni"), not beside it
    }
