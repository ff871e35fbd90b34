"""What an engine has from its process, and its numbers in 16 bits. For the rest: test_worker.py, test_families.py."""

import asyncio
import time

import torch

from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import Policy
from actors.rollout.config import RolloutConfig
from actors.rollout.probe import probe_fault
from actors.rollout.vllm_engine import EnginePrompt, VllmEngine, engine_environment
from tests.support.engines.probes import probe_of


def test_an_engine_on_a_cpu_has_threads_of_its_own_and_one_on_a_gpu_vllms_defaults():
    told = engine_environment(RolloutConfig(threads=3, kv_cache_gib=2))
    assert told["OMP_NUM_THREADS"] == "3" and told["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert told["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert engine_environment(RolloutConfig(gpus=1)) == {}


def test_in_bfloat16_an_engine_with_the_learners_weights_passes_and_one_with_others_does_not(tiny_model, phantom_tasks):
    """By the default tolerance."""
    config = RolloutConfig(dtype="bfloat16")
    policy = Policy(tiny_model, Encoder(tiny_model, PromptConfig()), torch.bfloat16)
    probe = probe_of(policy, phantom_tasks[:8])
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    others = probe_of(policy, phantom_tasks[:8])

    async def differences():
        engine = VllmEngine(config, str(tiny_model), policy.encoder, 1)
        try:
            return [await engine.compare(probe), await engine.compare(others)]
        finally:
            engine.llm.shutdown()

    right, wrong = asyncio.run(differences())
    assert not probe_fault(right, config.tolerance) and probe_fault(wrong, config.tolerance)
    assert right.mean > 1e-5, "both sides were in float32"


def test_what_is_being_written_goes_on_while_prompts_are_handed_over_and_they_begin_together(tiny_model, phantom_tasks):
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    encoder = Encoder(tiny_model, PromptConfig())
    times: list[float] = []  # of the tokens that are written
    handed_over: list[float] = []  # the first of the new prompts, and the last
    begun_early = []

    async def note(response):
        while not (response.get_nowait() or await response.get()).finished:
            times.append(time.monotonic())

    async def hand_over():
        engine = VllmEngine(RolloutConfig(max_model_tokens=2048), str(tiny_model), encoder, 1)
        long = SamplingParams(max_tokens=1500, ignore_eos=True, seed=0, output_kind=RequestOutputKind.DELTA)
        short = SamplingParams(max_tokens=1, seed=0, output_kind=RequestOutputKind.FINAL_ONLY)
        add = engine._add

        async def add_slowly(ready, parameters):
            queue = await add(ready, parameters)
            handed_over.append(time.monotonic())
            await asyncio.sleep(1)
            begun_early.append(queue.get_nowait() is not None)
            return queue

        try:
            no_film = phantom_tasks[0].model_copy(update={"images": ()})
            (response,) = await engine.submit_all([EnginePrompt(encoder.prompt_ids(no_film), (), long)])
            writing = asyncio.create_task(note(response))
            engine._add = add_slowly
            prompts = [EnginePrompt(encoder.prompt_ids(task), task.images, short) for task in phantom_tasks[1:3]]
            queues = await engine.submit_all(prompts)
            finished = [await engine.finish(queue) for queue in queues]
            writing.cancel()
            return finished
        finally:
            engine.llm.shutdown()

    finished = asyncio.run(hand_over())
    meanwhile = [at for at in times if handed_over[0] < at < handed_over[-1]]
    assert len(meanwhile) > 10
    assert begun_early == [False, False] and all(output.outputs[0].token_ids for output in finished)
